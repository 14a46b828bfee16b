"""A stand-in for the Hugging Face hub on the loopback, and small models with something to say."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import torch

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.config.stage2 import UpsamplerConfig
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import PaperDiscriminator
from crvae.models.upsampler import Upsampler
from crvae.storage.models import save, save_upsampler

torch.set_num_threads(1)


def lively(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights large enough, and running statistics odd enough, that every part of a network shows in its output."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            fan = tensor[0].numel() if tensor.ndim > 1 else 10
            tensor.normal_(0, 2 * fan**-0.5, generator=generator)
    return module.eval()


@pytest.fixture(scope="session")
def small():
    """Builds a small Autoencoder from options of ModelConfig."""

    def build(**options) -> Autoencoder:
        settings = {"width": 2, "latent_channels": 8, "size": 32} | options
        return lively(Autoencoder(ModelConfig(**settings)))  # type: ignore[return-value]

    return build


@pytest.fixture
def folder(small, tmp_path):
    """A Stage1 model as a run keeps it, with its discriminator."""
    model = small()
    discriminator = lively(
        PaperDiscriminator(DiscriminatorConfig(kernels=4, group=4), model.config, model.latent_shape)
    )
    save(tmp_path / "model", model, recipe="emoji-crvae-gan-mi", images=12_800, discriminator=discriminator)  # type: ignore[arg-type]
    return tmp_path / "model"


@pytest.fixture
def folder2(small, tmp_path):
    """A Stage2 model."""
    config = UpsamplerConfig(size=32, output_size=56, width=4, blocks=1)
    save_upsampler(tmp_path / "model2", lively(Upsampler(config, small())), recipe="emoji-stage2", images=640)  # type: ignore[arg-type]
    return tmp_path / "model2"


@dataclass
class Hub:
    """What the stand-in holds: repository -> files, and the large files that were uploaded, by their hash."""

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)

    def commit(self, repository: str) -> str:
        content = sorted(
            (name, hashlib.sha256(data).hexdigest()) for name, data in self.repositories[repository].items()
        )
        return hashlib.sha1(repr(content).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def answer(self, status: int, body: object = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        length = headers.get("Content_Length")
        if length is None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def missing(self, code: str) -> None:
        self.answer(404, {"error": "not found"}, X_Error_Code=code, X_Error_Message="not found")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requested.append(path)
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            repository, files = self._repository("/".join(parts[2:4]))
            if files is None:
                return self.missing("RepoNotFound")
            if parts[4:5] == ["tree"]:
                rows = [
                    {"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                    for n, d in files.items()
                ]
                return self.answer(200, rows)
            names = [{"rfilename": name} for name in files]
            body = {"id": repository, "modelId": repository, "sha": self.hub.commit(repository), "siblings": names}
            return self.answer(200, body | {"private": False, "tags": [], "downloads": 0, "likes": 0})
        if len(parts) >= 5 and parts[2] == "resolve":
            repository, files = self._repository("/".join(parts[:2]))
            if files is None:
                return self.missing("RepoNotFound")
            data = files.get("/".join(parts[4:]))
            if data is None:
                return self.missing("EntryNotFound")
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": self.hub.commit(repository)}
            return self.answer(200, data, Content_Length=str(len(data)), **headers)
        return self.missing("EntryNotFound")

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path.strip("/"), self.body()
        self.hub.requested.append(path)
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self.answer(401, {"error": "Invalid username or password."})
        if path == "api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.repositories.setdefault(name, {})
            return self.answer(200, {"url": f"{self.hub.address}/{name}", "name": name, "id": name})
        if path == "api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            kinds = [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] > 20_000 else "regular", "shouldIgnore": False}
                for f in files
            ]
            return self.answer(200, {"files": kinds})
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            rows = [
                o | {"actions": {"upload": {"href": f"{self.hub.address}/lfs/{o['oid']}", "header": {}}}}
                for o in objects
            ]
            return self.answer(200, {"transfer": "basic", "objects": rows}, Content_Type="application/vnd.git-lfs+json")
        if "/commit/" in path:
            name = "/".join(path.split("/")[2:4])
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    self.hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    self.hub.repositories[name][value["path"]] = self.hub.objects[value["oid"]]
            commit = self.hub.commit(name)
            return self.answer(
                200, {"commitOid": commit, "commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "success": True}
            )
        return self.answer(404, {"error": path})

    def do_PUT(self) -> None:
        self.hub.objects[self.path.rpartition("/")[2]] = self.body()
        self.answer(200)

    def _repository(self, name: str) -> tuple[str, dict[str, bytes] | None]:
        return name, self.hub.repositories.get(name)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of its own, an empty cache, and the library pointed at both."""
    state = Hub()
    handler = type("Handler", (_Handler,), {"hub": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", state.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", state.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield state
    server.shutdown()
    server.server_close()
