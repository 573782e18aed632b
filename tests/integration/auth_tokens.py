"""Keys and signed tokens for tests, made by the program openssl: no library of the product has a part in them."""
import base64
import json
import subprocess
import time


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=True).stdout


def raw_signature(der):
    """The two numbers of an ECDSA signature on P-256, 32 bytes each, out of their ASN.1."""
    at, numbers = 2, b""
    for _ in range(2):
        length = der[at + 1]
        numbers += int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big")
        at += 2 + length
    return numbers


class Key:
    """A pair of keys: `private` and `public` are files."""

    def __init__(self, folder, name, kind="RSA", option="rsa_keygen_bits:2048"):
        self.kind, self.name = kind, name
        self.private, self.public = folder / f"{name}.key", folder / f"{name}.pem"
        openssl("genpkey", "-algorithm", kind, *(["-pkeyopt", option] if option else []), "-out", self.private)
        self.public.write_bytes(openssl("pkey", "-in", self.private, "-pubout"))
        self.public.chmod(0o644)

    def sign(self, data):
        if self.kind == "ED25519":
            return openssl("pkeyutl", "-sign", "-inkey", self.private, "-rawin", data=data)
        signature = openssl("dgst", "-sha256", "-sign", self.private, data=data)
        return raw_signature(signature) if self.kind == "EC" else signature

    def jwk(self, **members):
        """The public key as an item of a JWKS."""
        if self.kind == "EC":
            point = openssl("pkey", "-pubin", "-in", self.public, "-outform", "DER")[-64:]
            return {"kty": "EC", "crv": "P-256", "x": encode(point[:32]), "y": encode(point[32:]), **members}
        modulus = openssl("rsa", "-pubin", "-in", self.public, "-modulus", "-noout").partition(b"=")[2]
        return {"kty": "RSA", "n": encode(bytes.fromhex(modulus.strip().decode())), "e": "AQAB", **members}


ISSUER, AUDIENCE = "https://issuer.example", "tally"


def claims(role="reader", **changes):
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"user-{role}", "exp": now + 600, "nbf": now - 5, "role": role}
    good.update(changes)
    return {name: value for name, value in good.items() if value is not None}


def token(key, payload, header=None, signature=None):
    """A signed token; signature: bytes instead of the key's own."""
    header = {"alg": "ES256" if key.kind == "EC" else "RS256", "typ": "JWT", **(header or {})}
    header = {name: value for name, value in header.items() if value is not None}
    text = encode(json.dumps(header).encode()) + "." + encode(json.dumps(payload).encode())
    return text + "." + encode(key.sign(text.encode()) if signature is None else signature)
