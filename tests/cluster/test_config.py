import ipaddress
import tomllib
from pathlib import Path

import yaml
from cryptography import x509

from walkforward_cluster import addons, kubeconfig, pki
from walkforward_cluster.addresses import Addresses
from walkforward_cluster.api import condition
from walkforward_cluster.components import ControlPlane, Ports
from walkforward_cluster.node import PAUSE_IMAGE, Node

ADDRESSES = Addresses(ipaddress.IPv4Network("198.18.4.0/22"))
STATE = Path("/var/lib/walkforward/wf-x")


def node(state: Path = STATE) -> Node:
    return Node("wf-x", state, ADDRESSES, Path("/usr/lib/cni"))


def plane(*, kubelets: bool) -> ControlPlane:
    return ControlPlane(Path("/bin"), STATE, "127.0.0.1", Ports(), service_cidr="198.18.6.0/24", kubelets=kubelets)


def test_containerd_keeps_everything_in_the_state_folder() -> None:
    config = tomllib.loads(node().containerd())
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    runtime = cri["containerd"]["runtimes"]["runc"]["options"]
    for place in (config["root"], config["state"], config["grpc"]["address"], cri["cni"]["conf_dir"], runtime["Root"]):
        assert place.startswith(f"{STATE}/")
    assert cri["restrict_oom_score_adj"]
    assert cri["netns_mounts_under_state_dir"]
    assert cri["sandbox_image"] == PAUSE_IMAGE


def test_no_socket_path_is_too_long_for_the_kernel() -> None:
    assert len(str(node().socket)) < 108


def test_nobody_anonymous_reaches_api_server_or_kubelet() -> None:
    assert "--anonymous-auth=false" in plane(kubelets=True).apiserver()
    assert "--authorization-mode=Node,RBAC" in plane(kubelets=True).apiserver()
    assert node().kubelet()["authentication"]["anonymous"] == {"enabled": False}  # type: ignore[index]
    assert node().kubelet()["authorization"] == {"mode": "Webhook"}


def test_controllers_have_accounts_of_their_own_and_each_client_its_file() -> None:
    assert "--use-service-account-credentials=true" in plane(kubelets=False).controller_manager()
    assert any("kube-scheduler.yaml" in flag for flag in plane(kubelets=False).scheduler())


def test_the_api_only_mode_knows_no_kubelet() -> None:
    assert not any("kubelet" in flag for flag in plane(kubelets=False).apiserver())
    assert "--kubelet-preferred-address-types=InternalIP" in plane(kubelets=True).apiserver()


def test_two_clusters_have_two_cgroups_and_two_networks() -> None:
    assert node().kubelet()["cgroupRoot"] == "/wf-x"
    assert node().cni()["name"] == "wf-x"


def test_written_files_are_what_the_components_read(tmp_path: Path) -> None:
    node(tmp_path).write()
    assert yaml.safe_load((tmp_path / "config" / "kubelet.yaml").read_text())["kind"] == "KubeletConfiguration"
    assert yaml.safe_load((tmp_path / "config" / "kube-proxy.yaml").read_text())["mode"] == "nftables"


def test_addons_say_where_dns_is_and_give_volumes_for_claims() -> None:
    objects = addons.manifests(ADDRESSES, Path("/volumes"), "wf-x")
    service = next(item for item in objects if item["kind"] == "Service")
    assert service["spec"]["clusterIP"] == ADDRESSES.dns
    volumes = [item for item in objects if item["kind"] == "PersistentVolume"]
    assert [item["spec"]["hostPath"]["path"] for item in volumes] == [str(path) for path in addons.volume_folders(Path("/volumes"))]
    assert all(item["spec"]["storageClassName"] == "standard" for item in volumes)


def test_every_component_is_somebody_else_and_keys_are_secret(tmp_path: Path) -> None:
    pki.control_plane(tmp_path, api_hosts=("127.0.0.1", "kubernetes"), node="wf-x", node_address="198.18.7.2")
    names = {}
    for path in tmp_path.glob("*.crt"):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names[path.stem] = certificate.subject.rfc4514_string()
    assert names["kubelet"] == "CN=system:node:wf-x,O=system:nodes"
    assert names["admin"] == "CN=walkforward-admin,O=system:masters"
    assert len(set(names.values())) == len(names)
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.key"))


def test_a_serving_certificate_names_its_hosts(tmp_path: Path) -> None:
    pki.authority(tmp_path, "ca").issue(pki.Identity("server", "server", hosts=("127.0.0.1", "kubernetes.default.svc")))
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_a_kubeconfig_can_be_copied_away(tmp_path: Path) -> None:
    pki.control_plane(tmp_path / "pki", api_hosts=("127.0.0.1",), node="n", node_address="127.0.0.1")
    path = kubeconfig.write(tmp_path / "admin.yaml", "wf-x", "https://127.0.0.1:6443", tmp_path / "pki", "admin")
    assert path.stat().st_mode & 0o077 == 0
    assert str(tmp_path) not in path.read_text()
    assert yaml.safe_load(path.read_text())["current-context"] == "wf-x"


def test_conditions_are_read_from_what_may_not_be_there() -> None:
    assert not condition(None, "Ready")
    assert condition({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Ready")
