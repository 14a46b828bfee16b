"""What was tried against the demo's page from outside: see docs/security-web.md."""

from __future__ import annotations

import io
import socket
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from visitor import call

from crvae.web.demo.guard import HEADERS, LARGEST_BODY, LARGEST_UPLOAD


@pytest.fixture(scope="module")
def client(site):
    with httpx.Client(base_url=site, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def events(client) -> dict[str, dict]:
    """The page's events by the name of their function."""
    return {event["api_name"]: event for event in client.get("/config").json()["dependencies"]}


def test_headers_on_every_kind_of_answer(client):
    for method, path in (("GET", "/"), ("GET", "/none"), ("POST", "/none"), ("GET", "/config"), ("PUT", "/")):
        answer = client.request(method, path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    refused = client.get("/", headers={"Host": "example.org"})
    assert refused.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_the_page_names_no_other_host(client):
    policy = HEADERS["Content-Security-Policy"]
    assert "//" not in policy
    assert "*" not in policy
    page = client.get("/").text
    assert "fonts.googleapis" not in page
    assert "fonts.gstatic" not in client.get("/theme.css").text


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1.example.org", "192.168.0.1:80", "", "[::1]x", "[", "localhost.evil"]
)
def test_a_foreign_name_for_this_address_is_refused(client, host):
    assert client.get("/config", headers={"Host": host}).status_code == 421


def test_both_names_of_this_machine_are_served(client, site):
    port = site.rsplit(":", 1)[1]
    assert client.get("/config", headers={"Host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_from_other_sites_are_refused_unread(client, headers):
    for path in ("/gradio_api/queue/join", "/gradio_api/upload"):
        assert client.post(path, content=b"{}", headers=headers).status_code == 403


def test_another_port_of_this_machine_is_another_site(client):
    headers = {"Origin": "http://127.0.0.1:1"}
    assert client.post("/gradio_api/queue/join", content=b"{}", headers=headers).status_code == 403


def test_large_and_endless_requests_are_refused_unread(client, site):
    host, port = site.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as wire:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n"
        wire.sendall(head.encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 413 ")
    assert client.post("/gradio_api/upload", content=iter([b"a"])).status_code == 411


def test_an_upload_above_the_limit_is_refused(client):
    files = {"files": ("a.png", b"\0" * (LARGEST_UPLOAD + 1), "image/png")}
    assert client.post("/gradio_api/upload", files=files).status_code == 413


@pytest.mark.parametrize("path", ["upload", "component_server"])
def test_a_visitor_who_leaves_during_an_upload_leaves_no_trace(client, site, log, path):
    said, (host, port) = len(log.read_text()), site.removeprefix("http://").split(":")
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc'
    head = (
        f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n"
    )
    for _ in range(3):
        with socket.create_connection((host, int(port)), 60) as wire:
            wire.sendall(head.encode() + part)
            time.sleep(0.2)
    time.sleep(0.5)
    assert client.get("/config").status_code == 200
    assert "Traceback" not in log.read_text()[said:]


@pytest.mark.parametrize(
    "root", ["/etc/passwd", "../../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/proc/self/environ"]
)
def test_no_path_leads_out_of_the_demos_own_folder(client, root):
    answer = client.get(f"/gradio_api/file={root}")
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_the_runs_files_are_not_served(client, trained):
    for path in (trained / "config.yaml", trained / "model" / "model.safetensors", Path(__file__)):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_a_file_elsewhere_is_not_read_in_place_of_an_upload(client, events):
    bring = next(event for name, event in events.items() if name.startswith("bring"))
    file = {"path": "/etc/passwd", "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
    heard = call(client, bring, [file])
    assert '"success": true' not in heard.lower()
    assert "root:" not in heard


@pytest.mark.parametrize(
    "data", [[1e9, 0, 1], [-3, 0, 1], ["many", 0, 1], [16, -1, 1], [16, 0, 9], [16, 2**70, 1], [], [None] * 3, [{}] * 3]
)
def test_values_that_the_page_cannot_give_end_in_an_error_without_a_trace(client, events, data):
    heard = call(client, events["draw"], data)
    assert '"success":true' not in heard.replace(" ", "")
    assert "Traceback" not in heard
    assert "site-packages" not in heard


def test_a_painting_is_not_opened_by_decoders_that_run_programs(client, events, tmp_path):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    assert "path" not in _search(client, events, script)
    good = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 4), np.uint8), "RGBA").save(good, "PNG")
    assert "othing is hidden" in _search(client, events, good.getvalue())


def test_a_painting_of_a_hundred_megapixels_is_refused(client, events):
    bomb = io.BytesIO()
    Image.new("L", (10_000, 10_000)).save(bomb, "PNG")
    heard = _search(client, events, bomb.getvalue())
    assert "othing is hidden" not in heard
    assert '"success":false' in heard.replace(" ", "")


def _search(client: httpx.Client, events: dict, layer: bytes) -> str:
    (path,) = client.post("/gradio_api/upload", files={"files": ("layer.png", layer, "image/png")}).json()
    file = {"path": path, "orig_name": "layer.png", "meta": {"_type": "gradio.FileData"}}
    painting = {"background": None, "layers": [file], "composite": None}
    return call(client, events["search"], [None, painting, "only what is painted", 1, 10, 0])


def test_nothing_is_offered_to_scripts(client):
    described = client.get("/gradio_api/info").json()
    assert described.get("named_endpoints") == {}
    assert client.get("/openapi.json").status_code == 404
    assert client.get("/docs").status_code in (404, 405)
    assert client.get("/monitoring").status_code in (403, 404)


def test_no_events_but_the_pages_own(large_site):
    body = {"data": [], "fn_index": 10_000, "session_hash": "forged"}
    with httpx.Client(base_url=large_site, timeout=120) as client:
        answer = client.post("/gradio_api/queue/join", json=body)
        heard = answer.text
        if answer.status_code == 200:
            heard += client.get("/gradio_api/queue/data", params={"session_hash": "forged"}).text
    assert '"success":true' not in heard.replace(" ", "")
    assert "Traceback" not in heard
    assert "site-packages" not in heard
