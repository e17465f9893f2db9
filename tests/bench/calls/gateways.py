"""The programs that are measured. Each is a context manager: inside the block it runs and answers SIP on port 5060 of
both addresses; `pids()` are all processes that belong to it."""
import http.client
import json
import socket
import sqlite3

from calls import rig


class System:
    name = None

    def __init__(self, bench):
        self.rig, self.processes = bench, []
        self.folder = bench.new_folder(self.name)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()

    def spawn(self, *command):
        log = self.folder / f"{len(self.processes)}.log"
        process = rig.Process(self.rig.gateway, log, *command)
        self.processes.append(process)
        return process

    def wait_ready(self, process, is_ready):
        def check():
            if not process.is_running():
                raise rig.Failure(f"{process.name} did not start:\n{process.last_lines()}")
            return is_ready()
        rig.wait_until(check, 20, f"{process.name} is ready")

    def pids(self):
        return [pid for process in self.processes for pid in rig.process_tree(process.pid)]


class Postern(System):
    """It has a mount namespace of its own, so that what is pinned for media in the kernel goes away with it."""
    name = "postern"
    programs = {}
    paths = "xdp, tc, conntrack, relay"

    def start(self):
        # The gateway makes this folder itself, after which it belongs to the account that it runs as.
        self.data = self.folder / "data"
        config = self.folder / "postern.yaml"
        template = (rig.HERE / "postern.yaml").read_text("utf-8")
        config.write_text(template.replace("@DIRECTORY@", str(self.data)).replace("@STATE@", str(self.folder / "state"))
                          .replace("@PATHS@", self.paths))
        process = self.spawn("unshare", "--mount", self.rig.build / "posternd", "--config", config)
        self.wait_ready(process, self._answers)
        self._note_paths()

    def _answers(self):
        """Whether it is ready, and its helper has found out what the kernel can do."""
        try:
            status, body = self.get("/readyz?verbose")
        except OSError:
            return False
        return status == 200 and (self.paths == "relay" or any(path["interface"] for path in body["media_paths"]))

    def _note_paths(self):
        usable = {path["path"] for path in self.get("/readyz?verbose")[1]["media_paths"]
                  if path["is_wanted"] and path["is_usable"]}
        rig.note(f"{self.name}: media in the kernel by {', '.join(sorted(usable)) or 'nothing'}")

    def get(self, path):
        """(status, body) of a GET on the REST interface; the body decoded when it is JSON."""
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(10)
        try:
            connection.sock.connect(str(self.data / "api.sock"))
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body) if "json" in response.getheader("Content-Type", "") else body
        finally:
            connection.close()

    def realms(self):
        status, body = self.get("/v1/realms")
        if status != 200:
            raise rig.Failure(f"GET /v1/realms: {status} {body}")
        return body["items"]

    def live_calls(self):
        return sum(realm["calls_active"] for realm in self.realms())

    def media_ports(self):
        """Pairs of ports that no other call can have now: in use, or in quarantine behind a call."""
        return sum(pool["pairs_used"] + pool["pairs_quarantined"] for realm in self.realms() for pool in realm["pools"])

    def database_bytes(self):
        return sum(path.stat().st_size for path in self.data.glob("postern.db*"))

    def stored_calls(self):
        """Records of answered calls. Only after the gateway has ended, which stores the last ones."""
        database = sqlite3.connect(self.data / "postern.db")
        try:
            return database.execute("SELECT count(*) FROM cdr WHERE status = 200").fetchone()[0]
        finally:
            database.close()


class PosternRelay(Postern):
    """The same without pinholes: all media stays in user space."""
    name = "postern_relay"
    paths = "relay"


class Kamailio(System):
    programs = {"kamailio": "kamailio"}
    config = None

    def start(self):
        process = self.spawn("kamailio", "-DD", "-E", "-f", rig.HERE / self.config, "-m", "512", "-M", "16",
                             "-Y", self.folder, "-w", self.folder)
        self.wait_ready(process, lambda: rig.has_udp_port(process.pid, 5060))
        # The last of its processes are forked after the sockets are there.
        rig.wait_until(lambda: len(rig.process_tree(process.pid)) >= 6, 10, "kamailio's processes")


class KamailioPlain(Kamailio):
    name = "kamailio_plain"
    config = "kamailio-plain.cfg"


class KamailioTopoh(Kamailio):
    name = "kamailio_topoh_rtpengine"
    config = "kamailio-topoh.cfg"
    programs = {"kamailio": "kamailio", "rtpengine": "rtpengine-daemon"}

    def start(self):
        config = rig.HERE / "rtpengine.conf"
        process = self.spawn("rtpengine", f"--config-file={config}", "--foreground", "--log-stderr")
        self.wait_ready(process, lambda: rig.has_udp_port(process.pid, 2223))
        super().start()


PEERS = [KamailioPlain, KamailioTopoh]
