"""The texts of the demonstration. Reads what demo.py gathered; runs nothing but `postern show`."""
import datetime


def beginning(demo):
    outside, inside = demo.network.gateway.addresses
    caller, callee = demo.network.caller.addresses[0], demo.network.callee.addresses[0]
    return (f"The gateway runs {demo.network.note}:\n\n"
            f"  caller {caller}  <-->  {outside} gateway {inside}  <-->  callee {callee}\n")


def of_the_calls(demo):
    result = demo.result
    lines = [f"{result['answered']} of {result['calls']} calls answered; {result['rtp_sent']} packets of audio sent, "
             f"{result['rtp_received']} received, {result['rtp_lost']} lost; {result['cdrs']} call records.", ""]
    if result["media_path"] not in ("relay", "none"):
        lines[-1:] = [f"Once both ends had sent, their audio went through the kernel ({result['media_path']}), past the process.", ""]
    number = next((n for n in demo.reports if all(n in sipp.heard for sipp in demo.ends)), None)
    if number:
        lines += [f"The call to {number}, as its two ends saw it:", ""]
        lines += both_ends(demo, number)
        lines += record(demo, number)
    return "\n".join(lines)


def both_ends(demo, number):
    sides = [sipp.heard[number] for sipp in demo.ends]
    hosts = (demo.network.caller, demo.network.callee)
    phones, reports = demo.phones[number], demo.reports[number]
    rows = [("SIP between", *(f"{host.addresses[0]}:5060 and {own}:5060"
                              for host, own in zip(hosts, demo.network.gateway.addresses)))]
    rows += [(name, *(side.get(name, "-") for side in sides)) for name in ("From", "To", "Call-ID", "Contact")]
    rows += [("audio between", *(f"{phone.address} and {side.get('Media', '-')}" for phone, side in zip(phones, sides))),
             ("packets", *(f"{report['sent']} sent, {report['received']} received, {report['lost']} lost"
                           for report in reports))]
    yield "  caller"
    for name, value, _ in rows:
        yield f"    {name:14} {value}"
    yield "  callee"
    for name, _, value in rows:
        yield f"    {name:14} {value}"


def record(demo, number):
    """The call record in the database, found by the caller's Call-ID."""
    call_id = demo.ends[0].heard[number].get("Call-ID")
    row = next((r for r in demo.records() if r["a_call_id"] == call_id), None)
    if row is None:
        return
    seconds = (row["ended_ms"] - row["answered_ms"]) / 1000 if row["answered_ms"] and row["ended_ms"] else 0
    start = datetime.datetime.fromtimestamp(row["started_ms"] / 1000, datetime.timezone.utc)
    yield "  call record"
    for name, value in (("id", row["id"]), ("started", f"{start:%Y-%m-%d %H:%M:%S} UTC"), ("status", row["status"]),
                        ("connected", f"{seconds:.1f} s"), ("ended by", row["ended_by"]),
                        ("caller", f"realm {row['a_realm']}, {row['a_from_uri']}"),
                        ("callee", f"realm {row['b_realm']}, peer {row['b_peer']}, {row['b_request_uri']}")):
        yield f"    {name:14} {value}"


def further(demo):
    gateway, network = demo.gateway, demo.network
    over_tcp = network.at_gateway(f"curl -s -H 'Authorization: Bearer {gateway.token}' http://{network.rest}:8480/v1/calls")
    calls = "\n".join("  " + line for line in gateway.show("show", "calls", "--state", "answered").splitlines())
    return f"""
One call stays up, and a short one is made now and then. Look at them from another terminal:

  {gateway.cli} show calls --socket {gateway.socket}
  {gateway.cli} show call ID --socket {gateway.socket}
  {gateway.cli} doctor --socket {gateway.socket}

{calls}

REST, through the UNIX socket or, with the token that was made for you, over TCP:

  curl -s --unix-socket {gateway.socket} http://localhost/v1/calls
  {over_tcp}

Configuration {gateway.config}, log {gateway.log}, records {gateway.database}.
Ctrl-C ends everything and removes it."""
