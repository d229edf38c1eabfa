"""The kernel's table of mounts, as runtimes leave it, and what it says of a policy file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.mounts import MOUNTINFO, Fixed, Mount, fixed_files, parse_mounts
from tests.real import lacking, need

POLICIES = "/etc/sidecar/policies"
STRIPE = f"{POLICIES}/stripe.yaml"
BY_SUBPATH = "is mounted by subPath and will never update: mount the directory"
ALONE = "is mounted as a single file, so that a file put in its place is never seen: mount the directory"

VOLUME = "/var/lib/kubelet/pods/5a1c1f1e-9c1f-4b7e-8d53-0d3a6c5a3f10/volumes/kubernetes.io~configmap/policies"
GENERATION = f"{VOLUME}/..2026_11_22_10_15_30.1854730961"
COMMON = """\
613 524 0:87 / / rw,relatime master:210 - overlay overlay rw,lowerdir=/a/1:/a/2,upperdir=/b,workdir=/c
614 613 0:92 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
616 613 0:93 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
630 613 253:1 /var/lib/kubelet/pods/5a1c1f1e-9c1f-4b7e-8d53-0d3a6c5a3f10/etc-hosts /etc/hosts rw - ext4 /dev/vda1 rw
"""

MOVING = {
    "containerd, the directory": f"640 613 253:1 {VOLUME} {POLICIES} ro,relatime - ext4 /dev/vda1 rw,discard",
    "cri-o, /var of its own": f"1201 1180 259:3 {VOLUME[4:]} {POLICIES} ro,relatime - xfs /dev/nvme0n1p4 rw,prjquota",
    "a projected volume": f"641 613 0:71 / {POLICIES} ro,relatime - tmpfs tmpfs rw,size=262144k,inode64",
    "an emptyDir's directory by subPath, which a sync tool swaps": "640 613 253:1 "
    f"{VOLUME.replace('configmap', 'empty-dir')}/repo {POLICIES} ro,relatime - ext4 /dev/vda1 rw",
    "podman's volume": "130 109 254:0 /var/lib/containers/storage/volumes/payments/_data "
    f"{POLICIES} rw,nosuid,nodev,relatime - ext4 /dev/vda rw,discard",
    "docker's bind": f"902 880 8:1 /home/me/policies {POLICIES} ro,relatime - ext4 /dev/sda1 rw,errors=remount-ro",
    "nothing of its own": "",
}
BY_SUBPATHS = {
    "containerd": f"642 613 253:1 {GENERATION}/stripe.yaml {STRIPE} ro,relatime - ext4 /dev/vda1 rw,discard",
    "containerd, after the next swap": f"642 613 253:1 {GENERATION}/stripe.yaml//deleted {STRIPE} ro,relatime - ext4 "
    "/dev/vda1 rw,discard",
    "cri-o, shared with optional fields": f"1202 1180 259:3 {GENERATION[4:]}/stripe.yaml {STRIPE} ro,relatime shared:4 "
    "master:1 propagate_from:2 - xfs /dev/nvme0n1p4 rw,prjquota",
    "a projected volume's tmpfs": f"643 613 0:71 /..2026_11_22_10_15_30.318/stripe.yaml {STRIPE} ro - tmpfs tmpfs rw",
    "docker in docker": f"905 880 8:1 /docker/volumes/minikube/_data{GENERATION[4:]}/stripe.yaml {STRIPE} ro - "
    "ext4 /dev/sda1 rw",
    "what the kubelet prepared": "646 613 253:1 /var/lib/kubelet/pods/5a1c1f1e/volume-subpaths/policies/sidecar/0 "
    f"{STRIPE} ro,relatime - ext4 /dev/vda1 rw",
}


def told(row: str, *files: str) -> tuple[Fixed, ...]:
    return fixed_files(files or (STRIPE,), parse_mounts(f"{COMMON}{row}\n"))


@pytest.mark.parametrize("row", MOVING.values(), ids=MOVING)
def test_what_is_mounted_whole_follows_its_source(row: str) -> None:
    assert told(row) == ()


@pytest.mark.parametrize("row", BY_SUBPATHS.values(), ids=BY_SUBPATHS)
def test_what_is_mounted_by_subpath_does_not(row: str) -> None:
    assert told(row) == (Fixed(STRIPE, BY_SUBPATH),)


def test_a_directory_by_subpath_is_told_once() -> None:
    row = f"644 613 253:1 {GENERATION}/payments {POLICIES} ro,relatime - ext4 /dev/vda1 rw"
    assert told(row, STRIPE, f"{POLICIES}/books.yaml") == (Fixed(POLICIES, BY_SUBPATH),)


@pytest.mark.parametrize(
    "root", ["/tmp/m/stripe.yaml", "/var/lib/docker/volumes/p/_data/stripe.yaml"], ids=["podman", "docker"]
)
def test_a_single_file_is_told_of_without_kubernetes_too(root: str) -> None:
    row = f"129 109 254:0 {root} {STRIPE} ro,nosuid,nodev,relatime - ext4 /dev/vda rw,discard"
    assert told(row, STRIPE, f"{POLICIES}/books.yaml") == (Fixed(STRIPE, ALONE),)


def test_the_nearest_mount_and_the_last_one_there_decide() -> None:
    over = f"650 613 253:1 {VOLUME} {POLICIES} ro - ext4 /dev/vda1 rw"
    under = f"649 613 253:1 {GENERATION}/sub {POLICIES} ro - ext4 /dev/vda1 rw"
    assert told(f"{under}\n{over}") == ()
    assert told(f"{over}\n{under}") == (Fixed(POLICIES, BY_SUBPATH),)
    assert told(f"{under}\n651 649 0:9 / {POLICIES}/more rw - tmpfs tmpfs rw", f"{POLICIES}/more/a.yaml") == ()


def test_white_space_and_backslashes_are_written_in_octal() -> None:
    (mount,) = parse_mounts("1 2 3:4 /a\\040b\\134c /x\\011y\\012z\\043 rw - ext4 /dev/sda rw\n")
    assert mount == Mount("/a b\\c", "/x\ty\nz#")


@given(st.text(st.characters(min_codepoint=33, exclude_characters="\\ "), min_size=1), st.lists(st.just("master:7")))
def test_a_path_comes_back_as_it_was(name: str, optional: list[str]) -> None:
    row = " ".join(["36", "35", "98:0", f"/{name}", f"/p/{name}", "rw", *optional, "-", "ext3", "/dev/root", "rw"])
    assert parse_mounts(row) == (Mount(f"/{name}", f"/p/{name}"),)


@given(st.text(st.sampled_from("1/ -\n\\04a")))
def test_of_whatever_else_no_more_is_understood_than_there_are_lines(text: str) -> None:
    assert len(parse_mounts(text)) <= text.count(" - ")
    assert all(mount.point in text.replace("\\040", " ") for mount in parse_mounts(text))


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4), st.integers(0, 4))
def test_a_file_is_fixed_exactly_if_the_mount_that_carries_it_is(parts: list[str], depth: int) -> None:
    file = "/" + "/".join(parts)
    point = "/" + "/".join(parts[: min(depth, len(parts))])
    found = fixed_files([file], [Mount("/", "/"), Mount("/..2026_11_22_10_15_30.318/x", point)])
    assert found == (Fixed(point, BY_SUBPATH),)
    assert fixed_files([f"{file}x"], [Mount("/..2026_11_22_10_15_30.318/x", file)]) == ()


def test_this_machines_own_table_is_understood() -> None:
    mounts = parse_mounts(Path(MOUNTINFO).read_text("utf-8", "surrogateescape"))
    assert "/proc" in {mount.point for mount in mounts}
    assert all(mount.point.startswith("/") for mount in mounts)


BOUND = """
import sys
from pathlib import Path
from sidecar.policy.sources import load_policies
from sidecar.serving.reload import fixed_policies
for path in sys.argv[1:]:
    print(*(one.text() for one in fixed_policies(load_policies([Path(path)]))), sep="\\n")
"""


def test_a_real_mount_of_one_file_of_a_generation(tmp_path: Path) -> None:
    """As the kubelet does it: the file that `..data` leads to, bound over an empty one."""
    generation = tmp_path / "volume" / "..2026_11_22_10_15_30.318"
    generation.mkdir(parents=True)
    (generation / "stripe.yaml").write_text("provider: shop\nhosts: [shop.example]\n")
    (tmp_path / "volume" / "..data").symlink_to(generation.name)
    (tmp_path / "volume" / "stripe.yaml").symlink_to("..data/stripe.yaml")
    one, whole = tmp_path / "one" / "stripe.yaml", tmp_path / "whole"
    one.parent.mkdir()
    one.touch()
    whole.mkdir()
    script = 'mount --bind "$1" "$2" && mount --bind "$3" "$4" && exec "$5" -c "$6" "$7" "$4"'
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    given = [generation / "stripe.yaml", one, tmp_path / "volume", whole, sys.executable, BOUND, one.parent]
    done = subprocess.run(
        [need("unshare"), *own, "--mount", "sh", "-c", script, "sh", *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode and ("unshare:" in done.stderr or "mount:" in done.stderr):
        lacking(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.stdout.split("\n") == [f"{one} {BY_SUBPATH}", "", ""]
