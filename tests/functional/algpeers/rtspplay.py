#!/usr/bin/python3
"""An RTSP client for tests: GStreamer's. Plays until each of `--tracks` tracks has had `--packets` packets, and takes leave.

    rtspplay.py URL [--protocols udp] [--tracks 2] [--packets 100] [--ca FILE]

URL may begin with rtsph:// for RTSP in HTTP. (gst-launch-1.0 with eos-after does not do: at the end of the stream its source now and then
reports an end of file of a connection that is whole, and the launcher fails.)
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gio, GLib, Gst  # noqa: E402


class Play:
    def __init__(self, options):
        self.loop, self.error, self.counts, self.options = GLib.MainLoop(), None, {}, options
        self.pipeline = Gst.Pipeline()
        source = Gst.ElementFactory.make("rtspsrc")
        source.set_property("location", options.url)
        source.set_property("teardown-timeout", 5 * Gst.SECOND)  # or it is gone without TEARDOWN when the machine is busy
        if options.protocols:
            Gst.util_set_object_arg(source, "protocols", options.protocols)
        if options.ca:
            source.set_property("tls-database", Gio.TlsFileDatabase.new(options.ca))
        source.connect("pad-added", self.on_pad)
        self.pipeline.add(source)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def on_pad(self, _, pad):
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("signal-handoffs", True)
        sink.set_property("sync", False)
        sink.connect("handoff", self.on_buffer, pad.get_name())
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def on_buffer(self, *arguments):
        self.counts[arguments[-1]] = self.counts.get(arguments[-1], 0) + 1
        if len(self.counts) >= self.options.tracks and min(self.counts.values()) >= self.options.packets:
            GLib.idle_add(self.loop.quit)

    def on_error(self, _, message):
        error, details = message.parse_error()
        self.error = f"{error.message} {details}"
        self.loop.quit()

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        # One after the other, or TEARDOWN is left out when PAUSE is still on its way.
        for state in (Gst.State.PAUSED, Gst.State.NULL):
            self.pipeline.set_state(state)
            self.pipeline.get_state(5 * Gst.SECOND)
        return self.error


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--protocols")
    parser.add_argument("--tracks", type=int, default=2)
    parser.add_argument("--packets", type=int, default=100)
    parser.add_argument("--ca")
    options = parser.parse_args()
    Gst.init(None)
    sys.exit(Play(options).run())


if __name__ == "__main__":
    main()
