"""FTP clients and servers that speak TLS: certificates of an authority of their own, the servers of algnet.py with encryption, a control
connection and a server of our own that can be made to misbehave."""
import contextlib
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import algnet
from algnet import PASSWORD, PEERS, SERVER, SERVER6, USER, Proftpd, PureFtpd, Pyftpdlib, Raw, Vsftpd, program
from harness import Network

NAME = "files.example"  # in the certificates of servers


class Authority:
    """A certificate authority in a folder: `ca` is its certificate, issue() makes others."""

    def __init__(self, folder, name="tests"):
        self.folder = Path(folder)
        self.ca = self.folder / f"{name}.pem"
        self.key = self.folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", self.key, "-out", self.ca)

    def issue(self, name, *alternatives):
        """(certificate file, key file), which any account may read; alternatives as in "DNS:x", "IP:y"."""
        request, certificate, key = (self.folder / f"{name}.{kind}" for kind in ("request", "pem", "key"))
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={','.join(alternatives)}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days", "2", "-out", certificate,
                "-extfile", self.folder / f"{name}.ext")
        os.chmod(key, 0o644)
        return certificate, key


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Certificates:
    """What all of a module use: the gateway's, the servers', and those of an authority that nobody trusts."""

    def __init__(self, folder):
        authority = Authority(folder)
        self.ca = authority.ca
        self.gateway = authority.issue("gateway", f"IP:{SERVER}", f"IP:{SERVER6}", f"IP:{Network.OUTER}", f"IP:{Network.OUTER6}")
        self.server = authority.issue("server", f"DNS:{NAME}", f"IP:{SERVER}", f"IP:{SERVER6}")
        self.other_name = authority.issue("other", "DNS:elsewhere.example")
        self.stranger = Authority(folder, "strangers").issue("stranger", f"DNS:{NAME}", f"IP:{SERVER}")

    def of_gateway(self, **changes):
        """Members of an ALG that ends TLS on both sides."""
        return {"tls": "terminate", "certificate": str(self.gateway[0]), "key": str(self.gateway[1]), "server_ca": str(self.ca),
                "server_name": NAME, **changes}

    def client_context(self, **versions):
        context = ssl.create_default_context(cafile=self.ca)
        for name, value in versions.items():
            setattr(context, name, value)
        return context

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server)
        return context


# ---- servers

class TlsServer:
    """To be mixed in before a Server: certificate is (certificate file, key file), implicit: TLS from the first octet."""

    def __init__(self, *args, certificate, implicit=False, passive_ports=None, **options):
        super().__init__(*args, **options)
        self.certificate, self.implicit, self.passive_ports = certificate, implicit, passive_ports


class TlsPyftpdlib(TlsServer, Pyftpdlib):
    def command(self):
        return [*super().command(), "--certificate", self.certificate[0], "--key", self.certificate[1]]


class TlsVsftpd(TlsServer, Vsftpd):
    """Sessions of data connections have to be resumed, as is its default."""

    def command(self):
        command = super().command()
        lines = ["ssl_enable=YES", "allow_anon_ssl=YES", f"rsa_cert_file={self.certificate[0]}", f"rsa_private_key_file={self.certificate[1]}",
                 "ssl_ciphers=HIGH", "debug_ssl=YES", f"implicit_ssl={'YES' if self.implicit else 'NO'}"]
        if self.passive_ports:
            lines += [f"pasv_min_port={self.passive_ports[0]}", f"pasv_max_port={self.passive_ports[-1]}"]
        with open(command[-1], "a", encoding="ascii") as conf:
            conf.write("\n".join([*lines, ""]))
        return command


class TlsProftpd(TlsServer, Proftpd):
    """Likewise."""

    @property
    def more(self):
        return [f"ModulePath {PEERS}/usr/lib/proftpd", "LoadModule mod_tls.c", "TLSEngine on", f"TLSLog {self.directory}/tls.log",
                f"TLSRSACertificateFile {self.certificate[0]}", f"TLSRSACertificateKeyFile {self.certificate[1]}", "TLSRequired off",
                *(["TLSOptions UseImplicitSSL"] if self.implicit else [])]


class TlsPureFtpd(TlsServer, PureFtpd):
    def command(self):
        bundle = self.directory / "pure-ftpd.pem"
        bundle.write_bytes(b"".join(Path(file).read_bytes() for file in self.certificate))
        return [*super().command(), "-Y", "1", "-2", bundle]


TLS_SERVERS = {"pyftpdlib": TlsPyftpdlib, "vsftpd": TlsVsftpd, "proftpd": TlsProftpd, "pure-ftpd": TlsPureFtpd}


# ---- a client of our own

class TlsRaw(Raw):
    """A control connection whose steps are the test's: plain until auth()."""

    def __init__(self, space, host, port, context, name=SERVER, implicit=False, protocols=None):
        self.context, self.name, self.host = context, name, host
        if protocols:
            context.set_alpn_protocols(protocols)
        super().__init__(space, host, port)
        self.space = space
        if implicit:
            self.secure()

    def secure(self):
        self.file.close()
        self.socket = self.context.wrap_socket(self.socket, server_hostname=self.name)
        self.file = self.socket.makefile("rb")
        return self

    def auth(self):
        assert self.reply().startswith("220")
        assert self.ask("AUTH TLS").startswith("234")
        return self.secure()

    def login(self, user=USER, password=PASSWORD):
        assert self.ask(f"USER {user}").startswith(("331", "230"))
        assert self.ask(f"PASS {password}").startswith("230")
        assert self.ask("TYPE I").startswith("200")
        return self

    def protect(self):
        assert self.ask("PBSZ 0").startswith("200")
        assert self.ask("PROT P").startswith("200")
        return self

    def passive(self):
        """A data connection, still in clear."""
        data = self.space.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
        data.settimeout(10)
        data.connect((self.host, algnet.epsv_port(self.ask("EPSV"))))
        return data

    def secured(self, data, resume=True):
        return self.context.wrap_socket(data, server_hostname=self.name, session=self.socket.session if resume else None)


def received(sock):
    """Everything until the end, which has to be an orderly one."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


# ---- a server of our own

class Stub:
    """One FTP server for one control connection, in a thread: answers() in its subclasses says what it does with each command."""

    greeting = "220 stub"

    def __init__(self, network, context, port=21):
        self.context, self.commands = context, []
        self.listener = network.server.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((SERVER, port))
        self.listener.listen()
        self.listener.settimeout(15)
        self.network, self.data_listener, self.control, self.file = network, None, None, None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(20)
        assert not self.thread.is_alive()
        if self.data_listener is not None:
            self.data_listener.close()

    def run(self):
        with contextlib.suppress(OSError, ValueError):  # whoever misbehaves is cut off
            self.serve()
        for one in (self.file, self.control):
            if one is not None:
                one.close()

    def serve(self):
        self.control, _ = self.listener.accept()
        self.control.settimeout(15)
        self.file = self.control.makefile("rb")
        self.say(self.greeting)
        while line := self.file.readline():
            words = line.decode("latin-1").strip().split(" ", 1)
            self.commands.append(words[0].upper())
            self.answer(words[0].upper(), words[1] if len(words) > 1 else "")

    def say(self, line):
        self.control.sendall(line.encode("latin-1") + b"\r\n")

    def secure(self):
        self.file.close()
        self.control = self.context.wrap_socket(self.control, server_side=True)
        self.file = self.control.makefile("rb")

    def answer(self, verb, argument):
        answers = {"USER": "331 who", "PASS": "230 in", "PBSZ": "200 PBSZ=0", "PROT": "200 so be it", "TYPE": "200 binary", "QUIT": "221 bye",
                   "PWD": '257 "/"'}
        if verb == "AUTH":
            self.on_auth()
        elif verb == "EPSV":
            self.data_listener = self.network.server.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.data_listener.bind((SERVER, 0))
            self.data_listener.listen()
            self.data_listener.settimeout(15)
            self.say(f"229 so (|||{self.data_listener.getsockname()[1]}|)")
        elif verb in ("RETR", "STOR"):
            data, _ = self.data_listener.accept()
            data.settimeout(15)
            self.say("150 here it comes")
            self.on_transfer(verb, argument, data)
        else:
            self.say(answers.get(verb, "502 no"))

    def on_auth(self):
        self.say("234 begin")
        self.secure()

    def on_transfer(self, verb, argument, data):
        raise NotImplementedError


# ---- programs

def lftp_script(where, certificates, commands, *, protect=True, passive=True, folder, login=(USER, PASSWORD)):
    """What lftp is told to do there; where is (host, port)."""
    host, port = where
    how = "yes" if protect else "no"
    return (f"set ftp:passive-mode {'on' if passive else 'off'}; set net:timeout 10; set net:max-retries 1; set xfer:clobber on;"
            f"set ftp:ssl-force yes; set ftp:ssl-protect-data {how}; set ftp:ssl-protect-list {how};"
            f"set ssl:ca-file {certificates.ca}; set ssl:verify-certificate yes;"
            f"open -u '{login[0]},{login[1]}' -p {port} {host}; lcd {folder}; {commands}; bye")


def lftp(network, script, folder):
    return subprocess.run(network.client.command(program("lftp"), "--norc", "-c", script), capture_output=True, text=True, timeout=90,
                          check=False, cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})


# Python's own client resumes no sessions for its data, which vsftpd and proftpd would not have. It says PASV, PORT and, with IPv6, EPSV and
# EPRT.
FTPLIB = """
import ftplib, ssl, sys
host, port, ca, user, password, is_passive, up, name, down = sys.argv[1:]
ftp = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=ca), timeout=20)
ftp.connect(host, int(port))
ftp.login(user, password)
ftp.prot_p()
ftp.set_pasv(is_passive == "passive")
with open(up, "rb") as file:
    ftp.storbinary("STOR " + name, file)
with open(down, "wb") as file:
    ftp.retrbinary("RETR " + name, file.write)
ftp.quit()
"""


def ftplib_moves(network, where, certificates, login, is_passive, up, name, down):
    """Sends the file `up` to `name` there, and fetches it to `down`."""
    return subprocess.run(network.client.command("/usr/bin/python3", "-c", FTPLIB, *where, certificates.ca, *login,
                                                 "passive" if is_passive else "active", up, name, down),
                          capture_output=True, text=True, timeout=90, check=False)


def tls_words(certificates, version=None):
    """Options of curl: TLS or nothing, with that version at most."""
    return ["--ssl-reqd", "--cacert", certificates.ca, *(["--tls-max", version] if version else [])]

