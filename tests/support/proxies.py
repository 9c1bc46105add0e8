"""nginx and Caddy for tests, with the files of docs/ in front of servers of ours.

Only what a test cannot have is changed in the files: ports, the certificate, the processes behind.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.support import ROOT
from tests.support.client import Client, connect
from tests.support.servers import Server
from tests.support.services import HOST, Service, binary, free_port

NAME = "chat.example.org"
#: What the files ask the operator to set.
ENVIRONMENT = {"ALLOWED_HOSTS": NAME, "TRUSTED_PROXIES": HOST}

#: What a file of each kind needs, by the end of its name; pages have none.
_NEEDED = {
    "": re.compile(r"""(?:src|href)="(/static/[^"]+)\""""),
    "css": re.compile(r"""url\(["']?([^"':)]+)["']?\)"""),
    "js": re.compile(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+\.js)["']"""),
}


class Proxy(Service):
    """A proxy that is not started yet; `port` has TLS, `plain_port` has not."""

    def __init__(self, *servers: Server) -> None:
        super().__init__()
        self.plain_port = free_port()
        self._processes_behind = [f"{HOST}:{server.port}" for server in servers]
        self._certificate, self._key = self.directory / "certificate", self.directory / "key"
        _make_certificate(self._certificate, self._key)
        self._configure()

    def _configure(self) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    def _ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @contextmanager
    def browser(self, host: str = HOST, **headers: str) -> Iterator[Browser]:
        """A browser that has never been here.

        Args:
            host: the address of this machine by which it comes.
            headers: of all requests.
        """
        origin = {"Host": NAME, "Origin": f"https://{NAME}"}
        with httpx.Client(verify=self._trust(), headers=origin | headers, timeout=60) as http:
            yield Browser(http, f"https://{host}:{self.port}")

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A WebSocket through it; the options are those of `client.connect`."""
        through = {"host": HOST, "port": self.port, "ssl": self._trust()}
        options |= {"origin": f"https://{NAME}", "log": self._log_tail, "through": through}
        return connect(f"wss://{NAME}/ws/agent/", **options)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._certificate))


class Nginx(Proxy):
    """nginx with docs/nginx.conf. A request with `X-Comes-From` comes from that address."""

    name = "nginx"

    def _configure(self) -> None:
        servers = "\n".join(f"server {one} max_fails=0;" for one in self._processes_behind)
        site = _changed(
            "nginx.conf",
            {
                "server 127.0.0.1:8000 max_fails=0;": servers,
                "listen 80;": f"listen {HOST}:{self.plain_port};",
                "listen [::]:80;": f"listen [::1]:{self.plain_port};",
                "listen 443 ssl;": f"listen {HOST}:{self.port} ssl;",
                "listen [::]:443 ssl;": f"listen [::1]:{self.port} ssl;",
                "/etc/ssl/chat.example.org.pem": str(self._certificate),
                "/etc/ssl/chat.example.org.key": str(self._key),
            },
        )
        (self.directory / "site.conf").write_text(site)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in kinds)
        (self.directory / "nginx.conf").write_text(f"""
            daemon off;
            {"user root;" if os.geteuid() == 0 else ""}
            pid {self.directory}/pid;
            error_log stderr;
            events {{}}
            http {{
                access_log off;
                {temporary}
                set_real_ip_from {HOST};
                real_ip_header X-Comes-From;
                include site.conf;
            }}
        """)

    def _command(self) -> list[str]:
        return [binary("nginx"), "-e", "stderr", "-p", f"{self.directory}/", "-c", "nginx.conf"]


class Caddy(Proxy):
    """Caddy with docs/Caddyfile."""

    name = "caddy"

    def _configure(self) -> None:
        site = _changed(
            "Caddyfile",
            {
                "{\n\tservers {": f"{{\n\tadmin off\n\thttp_port {self.plain_port}\n"
                f"\thttps_port {self.port}\n\tdefault_bind {HOST}\n\tservers {{",
                f"{NAME} {{": f"{NAME} {{\n\ttls {self._certificate} {self._key}",
                "reverse_proxy 127.0.0.1:8000": f"reverse_proxy {' '.join(self._processes_behind)}",
            },
        )
        (self.directory / "Caddyfile").write_text(site)

    def _command(self) -> list[str]:
        run = [binary("caddy"), "run", "--config", "Caddyfile"]
        home = [f"{name}={self.directory}" for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")]
        return ["env", *home, *run]


class Browser:
    """What a browser does of HTTP: it keeps cookies, and loads all that a page needs."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self.http, self._url = http, url

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, fields: dict[str, str]) -> httpx.Response:
        return self._ask("POST", path, data=fields)

    def load(self, path: str = "/") -> dict[str, int]:
        """Open a page with its style sheets and modules; returns the status of each."""
        found, waiting = {}, [path]
        while waiting:
            one = waiting.pop()
            answer = self.get(one)
            found[one] = answer.status_code
            needed = _NEEDED.get(one.rpartition(".")[2] if one.startswith("/static/") else "")
            if needed and "/vendor/" not in one:  # what is bundled there needs nothing
                whole = {urljoin(one, name) for name in needed.findall(answer.text)}
                waiting += whole - found.keys() - set(waiting)
        return found

    def sign_in(self, name: str, password: str) -> int:
        """Look at the form and send it; returns the status of the answer."""
        form = self.get("/login/")
        assert form.status_code == 200
        token = self.http.cookies.get("__Host-csrftoken") or ""
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": token}
        return self.post("/login/", fields).status_code

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        extensions = {"sni_hostname": NAME}
        return self.http.request(method, self._url + path, extensions=extensions, **options)


def _changed(name: str, changes: dict[str, str]) -> str:
    text = (ROOT / "docs" / name).read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} is not once in {name}"
        text = text.replace(old, new)
    return text


def _make_certificate(certificate: Path, key: Path) -> None:
    command = [
        binary("openssl"),
        "req",
        "-x509",
        "-days",
        "2",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-subj",
        f"/CN={NAME}",
        "-addext",
        f"subjectAltName=DNS:{NAME}",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
