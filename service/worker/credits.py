"""Creator, copyright and credit of a picture: from an upload's EXIF, IPTC and XMP, into EXIF and XMP.

Nothing else of an upload's metadata is kept: not where it was taken, nor with what.
"""

from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from PIL import Image, IptcImagePlugin

from service.messages.credits import MOST_SIGNS, Credits
from service.messages.text import on_one_line

_ARTIST, _COPYRIGHT = 0x013B, 0x8298
_IPTC = {"creator": (2, 80), "copyright": (2, 116), "credit": (2, 110)}
_DC, _PHOTOSHOP = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/photoshop/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MOST_XMP = 256 * 1024
"""A longer packet is not read, in bytes."""

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}"><rdf:Description rdf:about=""
 xmlns:dc="{dc}" xmlns:photoshop="{photoshop}">{fields}</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def credits_of(image: Image.Image) -> Credits:
    """What an opened upload says of itself; of several places XMP comes first, then IPTC, then EXIF. What
    cannot be read says nothing.
    """
    xmp, iptc, exif = _from_xmp(image.info.get("xmp")), _from_iptc(image), _from_exif(image)
    found = {name: xmp.get(name) or iptc.get(name) or exif.get(name) or "" for name in _IPTC}
    return Credits(**{name: on_one_line(text)[:MOST_SIGNS] for name, text in found.items()})


def written(makers: Credits) -> dict[str, Any]:
    """The options of Pillow's ``save`` that write them; none where there is nothing to write."""
    if not makers:
        return {}
    exif = Image.Exif()
    if makers.creator:
        exif[_ARTIST] = makers.creator.encode()
    if makers.copyright:
        exif[_COPYRIGHT] = makers.copyright.encode()
    fields = ""
    if makers.creator:
        item = f"<rdf:li>{escape(makers.creator)}</rdf:li>"
        fields += f"<dc:creator><rdf:Seq>{item}</rdf:Seq></dc:creator>"
    if makers.copyright:
        item = f'<rdf:li xml:lang="x-default">{escape(makers.copyright)}</rdf:li>'
        fields += f"<dc:rights><rdf:Alt>{item}</rdf:Alt></dc:rights>"
    if makers.credit:
        fields += f"<photoshop:Credit>{escape(makers.credit)}</photoshop:Credit>"
    packet = _PACKET.format(rdf=_RDF, dc=_DC, photoshop=_PHOTOSHOP, fields=fields)
    return {"exif": exif.tobytes(), "xmp": packet.encode()}


def _from_exif(image: Image.Image) -> dict[str, str]:
    try:
        exif = image.getexif()
        return {"creator": _text(exif.get(_ARTIST)), "copyright": _text(exif.get(_COPYRIGHT))}
    except Exception:  # Pillow raises many kinds for what is damaged
        return {}


def _from_iptc(image: Image.Image) -> dict[str, str]:
    try:
        found = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
        return {name: _text(found.get(field)) for name, field in _IPTC.items()}
    except Exception:
        return {}


def _from_xmp(packet: object) -> dict[str, str]:
    """Of a packet in UTF-8, whatever it says of itself, without a document type, which could make it grow."""
    if not isinstance(packet, str | bytes) or len(packet) > _MOST_XMP:
        return {}
    try:
        text = packet if isinstance(packet, str) else packet.decode()
        if "<!" in text:
            return {}
        root = ElementTree.fromstring(text.strip("\0 \n\r\t"))
    except (ElementTree.ParseError, ValueError):
        return {}
    names = {
        "creator": f"{{{_DC}}}creator",
        "copyright": f"{{{_DC}}}rights",
        "credit": f"{{{_PHOTOSHOP}}}Credit",
    }
    found = {}
    for name, tag in names.items():
        for description in root.iter(f"{{{_RDF}}}Description"):
            element = description.find(tag)
            texts = [description.get(tag, "")] if element is None else list(element.itertext())
            found[name] = ", ".join(filter(None, (text.strip() for text in texts)))
            if found[name]:
                break
    return found


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_text, value)))
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return value if isinstance(value, str) else ""
