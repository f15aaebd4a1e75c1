"""Uploading a folder: what is sent, what is remembered, what is sent again."""

import pytest

from benchmarks.load.processes import free_port
from service.client.api import Client, Unreachable
from service.client.folder import LIST_NAME, import_folder
from tests.service.samples import encoded, photo


def test_it_goes_on_after_a_crash(service, client, folder):
    (folder / "broken.jpg").unlink()
    import_folder(client, folder, widths=(30,))
    journal = folder / LIST_NAME
    whole = journal.read_text().splitlines()
    journal.write_text(whole[0] + "\n" + whole[1][:20])
    tally = import_folder(client, folder, widths=(30,))
    assert (tally.stored, tally.before, tally.failed) == (2, 1, 0)
    assert sorted(journal.read_text().splitlines()[i] for i in (0, 2)) == sorted(whole)
    assert import_folder(client, folder, widths=(30,)).before == 2


def test_a_changed_file_is_sent_again(client, folder):
    (folder / "broken.jpg").unlink()
    import_folder(client, folder, widths=(30,))
    (folder / "a.png").write_bytes(encoded(photo(60, 40, seed=53), "PNG"))
    assert import_folder(client, folder, widths=(30,)).before == 1
    assert import_folder(client, folder, widths=(20,)).before == 0


def test_without_a_service_it_ends_at_once_and_writes_nothing(folder):
    with Client(f"http://127.0.0.1:{free_port()}", retries=1000) as nobody, pytest.raises(Unreachable):
        import_folder(nobody, folder)
    assert not (folder / LIST_NAME).exists()


def test_pictures_are_called_as_their_files(service, client, tmp_path):
    names = ["boat.png", "é" * 120 + ".png", b"caf\xe9.png".decode(errors="surrogateescape")]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(encoded(photo(60, 40, 900 + number), "PNG"))
    tally = import_folder(client, tmp_path)
    assert tally.stored == len(names)
    found = service.client.get("/images", params={"limit": len(names)}).json()["images"]
    assert {one["name"] for one in found} == {names[0], names[1], "caf.png"}
