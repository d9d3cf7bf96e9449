"""The part of a broker of Kafka that lets users in: SASL by PLAIN and SCRAM, and no topics.

Arguments: the mechanisms, with commas; the user; the password; and the password that it answers with, which is another
where it only pretends to know the user's. Prints its port, and ends with its standard input.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import sys
import threading

MECHANISMS, USER, PASSWORD, OWN = sys.argv[1].split(","), *sys.argv[2:5]
ROUNDS = 4096


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def refused(code, why):
    return struct.pack(">h", code) + text(why) + struct.pack(">i", 0)


def agreed(said):
    return struct.pack(">hh", 0, -1) + struct.pack(">i", len(said)) + said


class Login:
    def __init__(self):
        self.mechanism, self.is_in, self.first, self.asked = None, False, None, None

    def handshake(self, body):
        name = body[2:].decode()
        offered = struct.pack(">i", len(MECHANISMS)) + b"".join(map(text, MECHANISMS))
        if name not in MECHANISMS:
            return struct.pack(">h", 33) + offered
        self.mechanism = name
        return struct.pack(">h", 0) + offered

    def say(self, said):
        if self.mechanism == "PLAIN":
            self.is_in = said == f"\0{USER}\0{PASSWORD}".encode()
            return agreed(b"") if self.is_in else refused(58, "Invalid username or password")
        if self.first is None:
            self.first = said.decode().removeprefix("n,,")
            user, nonce = (field[2:] for field in self.first.split(","))
            if user != USER:
                return refused(58, "no such user")
            self.salt = os.urandom(12)
            salt = base64.b64encode(self.salt).decode()
            self.asked = f"r={nonce}{os.urandom(6).hex()},s={salt},i={ROUNDS}"
            return agreed(self.asked.encode())
        last, proof = said.decode().rsplit(",p=", 1)
        assert last.startswith("c=biws,r="), last
        everything = f"{self.first},{self.asked},{last}".encode()
        name = self.mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        keyed = lambda key, value: hmac.digest(key, value, name)
        salted = lambda password: hashlib.pbkdf2_hmac(name, password.encode(), self.salt, ROUNDS)
        key = keyed(salted(PASSWORD), b"Client Key")
        signature = keyed(hashlib.new(name, key).digest(), everything)
        if bytes(a ^ b for a, b in zip(key, signature)) != base64.b64decode(proof):
            return refused(58, "Authentication failed")
        self.is_in = True
        return agreed(b"v=" + base64.b64encode(keyed(keyed(salted(OWN), b"Server Key"), everything)))


def serve(stream):
    login, file = Login(), stream.makefile("rb")
    while head := file.read(4):
        frame = file.read(struct.unpack(">i", head)[0])
        question, _, number, name = struct.unpack(">hhih", frame[:10])
        body = frame[10 + name :]
        if question == 18:
            kinds = [1, 2, 3, 8, 9, 10, 17, 18, 36]
            versions = b"".join(struct.pack(">hhh", kind, 0, 8 if kind == 3 else 12) for kind in kinds)
            answer = struct.pack(">hi", 0, len(kinds)) + versions
        elif question == 17:
            answer = login.handshake(body)
        elif question == 36:
            answer = login.say(body[4:])
        elif login.is_in:
            # No brokers, no cluster, and a topic that is not there.
            answer = struct.pack(">iihii", 0, 0, -1, -1, 1) + struct.pack(">h", 3) + text("data") + struct.pack(">bi", 0, 0)
        else:
            break
        stream.sendall(struct.pack(">ii", len(answer) + 4, number) + answer)
        if question == 17 and login.mechanism is None:
            break
    stream.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)


def listen():
    while True:
        threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()


threading.Thread(target=listen, daemon=True).start()
sys.stdin.read()
