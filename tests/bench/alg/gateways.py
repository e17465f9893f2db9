"""The gateways that are measured. Each is a context manager: inside the block it stands between client and server;
clients connect to `ftp` or `rtsp`; `processes` are what runs for it. After the block, fault() tells what was not as it
claims."""
import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from alg.net import INNER, OUTER, SERVER
from calls import gateways
from media.net import PATH_CPU, pinned

FTP_PORT, RTSP_PORT = 21, 554
DATA_PORTS = "10000 59999"
MEDIA_PACKETS = re.compile(r'^postern_media_packets_total\{path="(\w+)"\} (\d+)', re.M)
RULES_OF_KERNEL_HELPER = f"""
table ip bench {{
    ct helper ftp {{ type "ftp" protocol tcp; }}
    chain prerouting {{
        type filter hook prerouting priority -150;
        tcp dport {FTP_PORT} ct helper set "ftp"
    }}
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ip daddr {SERVER} tcp dport {FTP_PORT} accept
    }}
    chain postrouting {{
        type nat hook postrouting priority 100;
        ip daddr {SERVER} masquerade
    }}
}}
"""
MOD_PROXY = f"""
ServerType standalone
DefaultAddress {OUTER}
Port {FTP_PORT}
UseIPv6 off
User nobody
Group nogroup
MaxInstances none
UseReverseDNS off
WtmpLog off
TransferLog none
SystemLog none
DelayEngine off
PassivePorts {DATA_PORTS}
PidFile @FOLDER@/pid
ScoreboardFile @FOLDER@/scoreboard
ModulePath @MODULES@
LoadModule mod_proxy.c
ProxyEngine on
ProxyRole reverse
ProxyReverseServers ftp://{SERVER}:{FTP_PORT}
ProxySourceAddress {INNER}
ProxyTLSEngine off
ProxyTables @FOLDER@/tables
"""


class Unusable(Exception):
    """It is not here; the text says why."""


class Place:
    """Where a gateway is to run: in this network, with its files in this folder, and these paths for media and data."""

    def __init__(self, network, options, folder, paths):
        self.gateway, self.build, self.peers = network.gateway, options.build, options.peers
        self.folder, self.paths = folder, paths

    def new_folder(self, name):
        path = self.folder / name
        path.mkdir(mode=0o755)
        return path


class Forwarding(gateways.System):
    """The kernel routes. No process, no rule."""
    name = "forwarding"
    ftp, rtsp = (SERVER, FTP_PORT), (SERVER, RTSP_PORT)

    def start(self):
        pass

    def fault(self):
        return None

    def media_packets(self):
        """path -> packets so far; nothing when it does not know."""
        return {}


class KernelHelper(Forwarding):
    """The kernel's own FTP helper, with masquerading and a firewall that lets through what the helper expects."""
    name = "nf_conntrack_ftp"

    def start(self):
        done = subprocess.run(self.rig.gateway.command("nft", "-f", "-"), input=RULES_OF_KERNEL_HELPER, text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise Unusable(done.stderr.strip() or "nft fails")


class ModProxy(Forwarding):
    """ProFTPD as a reverse proxy: a process for each session. Relays data through a buffer of its own."""
    name = "mod_proxy"
    ftp = (OUTER, FTP_PORT)

    def start(self):
        program, modules = self.find()
        self.folder.joinpath("tables").mkdir(mode=0o700)
        config = self.folder / "proftpd.conf"
        config.write_text(MOD_PROXY.replace("@FOLDER@", str(self.folder)).replace("@MODULES@", str(modules)), "utf-8")
        # The module takes it for granted that another one has loaded libssl.
        process = self.spawn(*pinned(PATH_CPU, "env", "LD_PRELOAD=libssl.so.3", program, "--nodaemon", "--config",
                                     config))
        self.wait_ready(process, (self.folder / "pid").exists)

    def find(self):
        """Unpacked beside the build (tests/tools/unpack-peers), or installed."""
        for folder in (self.rig.peers, Path("/")):
            program, modules = folder / "usr/sbin/proftpd", folder / "usr/lib/proftpd"
            if program.exists() and (modules / "mod_proxy.so").exists():
                return program, modules
        raise Unusable("needs the Debian packages proftpd-core and proftpd-mod-proxy")


class Postern(gateways.Postern):
    """Mode nat, data in the kernel."""
    name = "postern_nat"
    mode, data_kind, data_path = "nat", "kernel", "nft"
    ftp, rtsp = (SERVER, FTP_PORT), (SERVER, RTSP_PORT)

    def start(self):
        self.data = self.folder / "data"
        config = self.folder / "postern.yaml"
        text = (Path(__file__).parent / "postern.yaml").read_text("utf-8")
        for name, value in (("DIRECTORY", self.data), ("STATE", self.folder / "state"), ("PATHS", self.rig.paths),
                            ("ALGS", json.dumps(self.algs()))):
            text = text.replace(f"@{name}@", str(value))
        config.write_text(text, "utf-8")
        process = self.spawn(*pinned(PATH_CPU, "unshare", "--mount", self.rig.build / "posternd", "--config", config))
        self.wait_ready(process, self._answers)

    def algs(self):
        return {"files": self.alg("ftp", self.ftp[1], FTP_PORT), "cameras": self.alg("rtsp", self.rtsp[1], RTSP_PORT)}

    def alg(self, protocol, port, port_of_server):
        explicit = self.mode == "explicit"
        far = {"server": f"{SERVER}:{port_of_server}"} if explicit else {"servers": [f"{SERVER}/32"]}
        return {"protocol": protocol, "realm": "access", "to": "core", "mode": self.mode, "ports": [port], **far,
                "data": self.data_kind, "max_sessions": 10000, "max_sessions_per_client": 10000}

    def media_packets(self):
        text = self.get("/metrics")[1].decode("ascii")
        return {path: int(count) for path, count in MEDIA_PACKETS.findall(text)}

    def fault(self):
        """Whether its transfers went the way that it is measured for (but one of a thousand, which found the place in the kernel
        taken), and ended well."""
        with closing(sqlite3.connect(self.data / "postern.db")) as database:
            rows = database.execute("SELECT data_path, is_ok, count(*) FROM transfer WHERE verb IN ('RETR', 'STOR') "
                                    "GROUP BY data_path, is_ok").fetchall()
        strange = [row for row in rows if row[:2] != (self.data_path, 1)]
        is_rare = all(row[1] for row in strange) and 1000 * sum(row[2] for row in strange) <= sum(row[2] for row in rows)
        return f"transfers of other kinds: {strange}" if not is_rare else None if rows else "no transfer was recorded"


class PosternNatRelay(Postern):
    name = "postern_nat_relay"
    data_kind = data_path = "relay"


class PosternExplicit(Postern):
    name = "postern_explicit"
    mode = "explicit"
    ftp, rtsp = (OUTER, 2121), (OUTER, 8554)


class PosternExplicitRelay(PosternExplicit):
    name = "postern_explicit_relay"
    data_kind = data_path = "relay"


FTP = {kind.name: kind for kind in (Forwarding, KernelHelper, ModProxy, Postern, PosternNatRelay, PosternExplicit,
                                    PosternExplicitRelay)}
RTSP = {kind.name: kind for kind in (Forwarding, Postern, PosternExplicit)}
PEERS = (Forwarding.name, KernelHelper.name, ModProxy.name)
