"""Certificates: one authority per purpose, one identity per component."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

_VALID = dt.timedelta(days=365)
_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate speaks for; `hosts` only where it serves."""

    name: str
    common_name: str
    group: str | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority whose key is in memory only while certificates are made."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def issue(self, identity: Identity) -> None:
        """Write `<name>.crt` and `<name>.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if identity.hosts else [])
        builder = (
            _builder(identity.common_name, identity.group, key)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if identity.hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in identity.hosts]), critical=False)
        _write(self.folder, identity.name, builder.sign(self.key, hashes.SHA256()), key)


def authority(folder: Path, name: str) -> Authority:
    """Make an authority and write its certificate; its key is not kept, a cluster's certificates are all made at once."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(f"walkforward {name}", None, key)
    certificate = (
        builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"walkforward {name}")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(folder, key, certificate)


def service_account_key(folder: Path) -> None:
    """The key pair that signs ServiceAccount tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    _secret(folder / "service-account.key", _pem(key))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "service-account.pub").write_bytes(public)


def control_plane(folder: Path, *, api_hosts: tuple[str, ...], node: str, node_address: str) -> None:
    """Everything that one cluster needs: three authorities (cluster, front proxy, etcd) and their identities."""
    cluster = authority(folder, "ca")
    for identity in (
        Identity("kube-apiserver", "kube-apiserver", hosts=api_hosts),
        Identity("kube-apiserver-kubelet", "kube-apiserver-kubelet-client"),
        Identity("admin", "walkforward-admin", "system:masters"),
        Identity("kube-controller-manager", "system:kube-controller-manager", hosts=("127.0.0.1", "localhost")),
        Identity("kube-scheduler", "system:kube-scheduler", hosts=("127.0.0.1", "localhost")),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("kubelet", f"system:node:{node}", "system:nodes", (node, node_address)),
        Identity("kwok", "walkforward-kwok"),
    ):
        cluster.issue(identity)
    authority(folder, "front-proxy-ca").issue(Identity("front-proxy", "front-proxy-client"))
    etcd = authority(folder, "etcd-ca")
    etcd.issue(Identity("etcd", "etcd", hosts=("127.0.0.1", "localhost")))
    etcd.issue(Identity("etcd-client", "kube-apiserver-etcd-client"))
    service_account_key(folder)


def _builder(common_name: str, group: str | None, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group is not None:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)  # not an address, so a name


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _secret(folder / f"{name}.key", _pem(key))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The traditional form: the ServiceAccount signer of Kubernetes reads EC keys in this one only.
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
