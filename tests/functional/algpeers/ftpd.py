#!/usr/bin/python3
"""An FTP server for tests: pyftpdlib with one user, and quirks that real servers have.

Quirks (comma-separated): bare227 (no parentheses), text227 (words before the numbers), foreign (227 names 10.9.9.9),
spaces229, unsolicited (a 227 nobody asked for after PWD), logout227 ("227 Logout." as the answer to QUIT), noepsv and nopasv (500)."""
import argparse
import logging

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


class Quirks:
    quirks = ()

    def respond(self, resp, logfun=logging.getLogger("pyftpdlib").debug):
        if resp.startswith("227 "):
            start, end = resp.index("("), resp.index(")")
            numbers = resp[start + 1:end]
            if "foreign" in self.quirks:
                numbers = "10,9,9,9," + ",".join(numbers.split(",")[4:])
                resp = f"227 Entering passive mode ({numbers})."
            if "bare227" in self.quirks:
                resp = f"227 Entering Passive Mode {numbers}"
            if "text227" in self.quirks:
                resp = f"227 Passive, at last: ={numbers}="
        if resp.startswith("221") and "logout227" in self.quirks:
            resp = "227 Logout."
        super().respond(resp, logfun)
        if resp.startswith("257") and "unsolicited" in self.quirks:
            super().respond("227 Entering passive mode (198,51,100,20,200,200).", logfun)


class Handler(Quirks, FTPHandler):
    pass


class TlsHandler(Quirks, TLS_FTPHandler):
    pass


def main():
    parser = argparse.ArgumentParser()
    for name in ("host", "root", "user", "password"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--quirks", default="")
    parser.add_argument("--certificate", help="PEM file; with --key: TLS is offered")
    parser.add_argument("--key")
    options = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG)
    authorizer = DummyAuthorizer()
    authorizer.add_user(options.user, options.password, options.root, perm="elradfmwMT")
    authorizer.add_anonymous(options.root, perm="elradfmwMT")
    handler = TlsHandler if options.certificate else Handler
    handler.certfile, handler.keyfile = options.certificate, options.key
    handler.authorizer = authorizer
    handler.quirks = options.quirks.split(",")
    handler.proto_cmds = {verb: row for verb, row in handler.proto_cmds.items() if f"no{verb.lower()}" not in handler.quirks}
    handler.permit_foreign_addresses = True
    server = FTPServer((options.host, options.port), handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
