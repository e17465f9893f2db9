#!/usr/bin/python3
"""An RTSP server for tests: GStreamer's, with two audio tracks at /test (A-law and mu-law, 50 packets per second each),
recording at /record, Digest for /test when there is a user, and TLS from the first octet when there is a certificate.

    rtspd.py --host ADDRESS --port PORT [--user USER --password PASSWORD | --certificate FILE --key FILE]
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PLAY = ("( audiotestsrc is-live=true wave=sine ! audio/x-raw,rate=8000,channels=1 ! alawenc ! "
        "rtppcmapay name=pay0 pt=8 min-ptime=20000000 max-ptime=20000000 "
        "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! "
        "rtppcmupay name=pay1 pt=0 min-ptime=20000000 max-ptime=20000000 )")
RECORD = "( rtppcmadepay name=depay0 ! alawdec ! fakesink name=sink sync=false )"


def on_media(_, media):
    """Tells how many buffers of a recording arrived, when it ends."""
    sink = media.get_element().get_child_by_name("sink")
    sink.set_property("signal-handoffs", True)
    count = [0]

    def on_buffer(*_):
        count[0] += 1
        if count[0] % 10 == 0:
            print(f"recorded {count[0]}", flush=True)

    sink.connect("handoff", on_buffer)


def allow(factories, role):
    for factory in factories:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_role(role)
        permissions.add_permission_for_role(role, "media.factory.access", True)
        permissions.add_permission_for_role(role, "media.factory.construct", True)
        factory.set_permissions(permissions)


def token_of(role):
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    return token


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(options.host)
    server.set_service(options.port)
    mounts = server.get_mount_points()
    play = GstRtspServer.RTSPMediaFactory()
    play.set_launch(PLAY)
    mounts.add_factory("/test", play)
    record = GstRtspServer.RTSPMediaFactory()
    record.set_launch(RECORD)
    record.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    record.connect("media-configure", on_media)
    mounts.add_factory("/record", record)
    auth = GstRtspServer.RTSPAuth()
    if options.user:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token_of("user"))
        allow([play], "user")
        server.set_auth(auth)
    elif options.certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(options.certificate, options.key))
        auth.set_default_token(token_of("anybody"))
        allow([play, record], "anybody")
        server.set_auth(auth)
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
