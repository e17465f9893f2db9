#!/usr/bin/python3
"""An RTSP server for tests: GStreamer's, with two audio tracks at /test (A-law and mu-law, 50 packets per second each),
recording at /record, and Digest for /test when there is a user.

    rtspd.py --host ADDRESS --port PORT [--user USER --password PASSWORD]
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
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
    if options.user:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_digest(options.user, options.password, token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_role("user")
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        play.set_permissions(permissions)
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
