"""Creator, copyright and credit, from what programs write into files to what answers say."""

from codecs import BOM_UTF16_BE
from io import BytesIO

import pytest
from PIL import Image

from service.messages.credits import NOBODY, Credits
from service.worker import imagefile
from service.worker.credits import credits_of
from tests.service.samples import encoded, photo

MAKERS = Credits("Zoë <Müller> & Söhne", "© 2026 Zoë", 'The "Daily"')
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 photoshop:Credit="Agency"><dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def upload(kind: str = "JPEG", xmp: str = "", **exif: str) -> bytes:
    tags = Image.Exif()
    for name, tag in (("artist", 0x013B), ("copyright", 0x8298)):
        if name in exif:
            tags[tag] = exif[name]
    tags[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}  # where it was taken
    return encoded(photo(60, 40), kind, exif=tags.tobytes(), **({"xmp": xmp.encode()} if xmp else {}))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_exif_and_xmp_are_read(kind: str) -> None:
    plain = imagefile.read(upload(kind, artist="Ann", copyright="(c) Ann"), 10**6)
    assert plain.credits == Credits("Ann", "(c) Ann")
    both = imagefile.read(upload(kind, XMP, artist="Somebody", copyright="(c) Ann"), 10**6)
    assert both.credits == Credits("Ann, Bob", "(c) Ann", "Agency")


def test_iptc_is_read() -> None:
    def field(number: int, text: str) -> bytes:
        return bytes((0x1C, 2, number)) + len(text.encode()).to_bytes(2, "big") + text.encode()

    iptc = field(80, "Ann") + field(116, "(c) Zoë") + field(110, "Agency")
    block = (
        b"8BIM"
        + (0x0404).to_bytes(2, "big")
        + b"\0\0"
        + len(iptc).to_bytes(4, "big")
        + iptc
        + b"\0" * (len(iptc) % 2)
    )
    segment = b"Photoshop 3.0\0" + block
    jpeg = upload()
    data = jpeg[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]
    assert imagefile.read(data, 10**6).credits == Credits("Ann", "(c) Zoë", "Agency")


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_answers_say_whose_they_are_and_nothing_else(kind: str) -> None:
    body = imagefile.write(photo(60, 40), kind, 80, makers=MAKERS)
    with Image.open(BytesIO(body)) as image:
        assert credits_of(image) == MAKERS
        assert set(image.getexif()) <= {0x013B, 0x8298}
    assert imagefile.write(photo(60, 40), kind, 80, makers=NOBODY) == imagefile.write(photo(60, 40), kind, 80)


@pytest.mark.parametrize(
    "xmp",
    [
        "<",
        "<x:xmpmeta",
        '<!DOCTYPE a [<!ENTITY b "bbbb">]>' + XMP.replace("Ann", "&b;"),
        XMP.replace("Ann", "A" * 300_000),
        XMP.replace("rdf:Description", "other"),
    ],
    ids=["cut", "cut later", "entities", "long", "other"],
)
def test_what_cannot_be_read_says_nothing(xmp: str) -> None:
    found = imagefile.read(upload("WEBP", xmp, copyright="(c) Ann"), 10**6).credits
    assert found.copyright == "(c) Ann"
    assert "b" not in found.creator


def test_no_other_encoding_hides_a_document_type() -> None:
    packet = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "grown">]>' + XMP.replace(
        "Ann", "&b;"
    )
    file = encoded(photo(60, 40), "WEBP", xmp=BOM_UTF16_BE + packet.encode("utf-16-be"))
    assert "grown" not in imagefile.read(file, 10**6).credits.creator


def test_texts_are_bounded_and_on_one_line() -> None:
    found = imagefile.read(upload(artist="A\nB\x00\x07 C" + 2000 * "D"), 10**6).credits
    assert found.creator.startswith("A B")
    assert len(found.creator) <= 500
