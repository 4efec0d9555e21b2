"""Sends admissions with python-hl7's own MLLP client and reads the acknowledgements with its parser."""

import sys

import hl7
from hl7.client import MLLPClient


def admission(number: int, facility: str = "RN1", processing: str = "P", control: str | None = None) -> str:
    control = f"PY{number:05}" if control is None else control
    return "\r".join(
        [
            f"MSH|^~\\&|PYTHON|{facility}|HL|X26|20261102120000||ADT^A01^ADT_A01|{control}|{processing}|2.4|||AL|NE",
            "EVN||20261102120000",
            f"PID|||999{number:07}^^^PY^MR||Test^Person\\T\\Co||19400101|F|||1 High Street^^Town^^SO16 6YD",
            f"PV1||I|WARD^^^RN101||||||||||||||||PYV{number:05}|||||||||||||||||||||||||20261102115500",
            "",
        ]
    )


def answer(client: MLLPClient, message: str) -> hl7.Message:
    return hl7.parse(client.send_message(message).strip(b"\x0b\x1c\r").decode())


def expect(reply: hl7.Message, code: str, control: str) -> None:
    got = (str(reply.segment("MSA")[1]), str(reply.segment("MSA")[2]))
    if got != (code, control):
        sys.exit(f"python-hl7 was answered {got} where {(code, control)} was due: {reply}")


def main() -> None:
    host, port, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with MLLPClient(host, port) as client:
        for number in range(messages):
            expect(answer(client, admission(number)), "AA", f"PY{number:05}")
        # The same again, as after an answer that was lost.
        expect(answer(client, admission(0)), "AA", "PY00000")
        # A stranger to the receiver, and a message without MSH-10: refused, with the place that is wrong.
        for refused, code in ((admission(1, facility="XYZ99"), "AR"), (admission(2, control=""), "AE")):
            reply = answer(client, refused)
            if str(reply.segment("MSA")[1]) != code or "MSH" not in str(reply.segment("ERR")):
                sys.exit(f"python-hl7 was answered {reply} where {code} with a place in MSH was due")
        # And the connection is as good as before.
        expect(answer(client, admission(messages)), "AA", f"PY{messages:05}")
    print(f"python-hl7 {hl7.__version__}: {messages + 1} accepted, one of them twice, 2 refused")


main()
