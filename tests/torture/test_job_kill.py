"""The server, killed at random moments of a job's life: the job runs once, and ends as it ended."""

import random
import threading

import pytest

from tests.conftest import make_server
from tests.e2e.training_house import IMAGES, open_house

JOBS = 25
PROGRAM = """
import os, pathlib, time
os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
time.sleep({seconds})
pathlib.Path(os.environ["AIP_MODEL_DIR"] + "model.txt").write_text("weights of {number}")
"""
"""Fails when it is run a second time."""


@pytest.mark.torture
@pytest.mark.timeout(1500)
def test_jobs_survive_kills(tmp_path) -> None:
    images = tmp_path / "images.toml"
    images.write_text(IMAGES)
    server = make_server(tmp_path / "data", "--job-images", str(images)).start()
    house = open_house(server)
    chance = random.Random(20261123)
    pause = threading.Event()

    for number in range(JOBS):
        mark = tmp_path / f"started-{number}"
        program = PROGRAM.format(mark=str(mark), seconds=chance.uniform(0, 1), number=number)
        job = house.submit(program)
        pause.wait(chance.uniform(0, 2.5))
        server.kill()
        pause.wait(chance.choice([0.0, 1.0]))
        server.start()
        if chance.random() < 0.3:
            pause.wait(chance.uniform(0, 1))
            server.kill()
            server.start()

        ended = house.ended(job)

        assert ended["state"] == "JOB_STATE_SUCCEEDED", ended.get("error")
        assert mark.exists()
        base = ended["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"]
        name = f"{base.removeprefix(f'gs://{house.bucket}/')}/model/model.txt".replace("/", "%2F")
        stored = house.call("GET", f"/storage/v1/b/{house.bucket}/o/{name}")
        assert int(stored["size"]) == len(f"weights of {number}")
        assert not list(house.folder(job).rglob("service-account.json"))
    server.kill()
