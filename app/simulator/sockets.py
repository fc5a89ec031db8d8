"""The simulator's WebSockets: which there are, and who may open them."""

from urllib.parse import parse_qs

from app.simulator.account import Account
from app.simulator.call import Ending
from app.simulator.delivery import SOCKET_HEADERS
from app.simulator.exchange import ClientLeft, Receive, Scope, Send
from app.simulator.realtime import Realtime
from app.simulator.refusal import Refusal, missing_parameter, scripted, unknown_url
from app.simulator.script import read_script
from app.simulator.socket_peer import SocketPeer
from app.simulator.socket_responses import Create, SocketResponses


async def serve_socket(
    scope: Scope, receive: Receive, send: Send, *, account: Account, create: Create, hang_seconds_max: float
) -> None:
    """Serve one WebSocket whose client was authenticated; *create* answers requests for responses.

    The connection is a call of its own in *account*; so is each response.
    """
    header = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-simulator"), None)
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
    call = account.open("GET", scope["path"], scope["headers"])
    peer = SocketPeer(scope, receive, send)
    ending = Ending.REFUSED
    try:
        model, script = read_script(query.get("model", ""), header)
        call.model = model or None
        if scope["path"] == "/v1/realtime" and not model and query.get("intent") != "transcription":
            raise missing_parameter("model")
        if scope["path"] not in ("/v1/realtime", "/v1/responses"):
            raise unknown_url("GET", scope["path"])
        if scope["path"] == "/v1/realtime" and script.status is not None:
            raise scripted(script.status, model, script.error_code)
        await peer.open(SOCKET_HEADERS)
        call.status, ending = 101, Ending.CLIENT_LEFT
        if scope["path"] == "/v1/realtime":
            await Realtime(peer, account, script, scope, hang_seconds_max=hang_seconds_max).run(model, query)
        else:
            await SocketResponses(peer, account, create, hang_seconds_max=hang_seconds_max).run(scope, header)
    except Refusal as refusal:
        call.status = refusal.status
        await peer.refuse(refusal)
    except ClientLeft:
        pass
    finally:
        account.close(call, ending)
        peer.stop()
