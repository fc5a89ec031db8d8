"""nginx as a proxy of one worker: what a core can do that only passes calls on."""

import shutil
from contextlib import ExitStack

from tests.fixtures.ports import free_port
from tests.load.gateways import Behind, Gateway, new_directory, process
from tests.load.machine import GATEWAY_CORES, listening

_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path temporary;
  proxy_temp_path temporary;
  fastcgi_temp_path temporary;
  uwsgi_temp_path temporary;
  scgi_temp_path temporary;
  keepalive_requests 1000000000;
  upstream bench {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def nginx(stack: ExitStack, behind: Behind, *, is_root: bool) -> Gateway:
    """Start nginx and return it; raises FileNotFoundError where it is not installed."""
    program = shutil.which("nginx")
    if program is None:
        raise FileNotFoundError("it is not installed here.")
    port = free_port()
    directory = stack.enter_context(new_directory())
    file = directory / "nginx.conf"
    file.write_text(_CONFIGURATION.format(user="user root;" if is_root else "", upstream=behind.port, port=port))
    command = [program, "-p", str(directory), "-c", str(file), "-e", "stderr"]
    stack.enter_context(process(command, port, GATEWAY_CORES, directory))
    return Gateway("nginx as proxy", port, pids=listening(port))
