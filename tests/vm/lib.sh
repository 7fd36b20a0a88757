# shellcheck shell=bash
# Boots Debian guests under QEMU, for tests that need a kernel or a service manager of their own.
# Sourced by bash scripts; needs no loop device, no network in the guest and no KVM.
#
#   . tests/vm/lib.sh                            # and with it kernels.sh
#   vm_require && vm_require_root                # or ends the script: 77 skipped, 1 where it must not be
#   kernel=$(vm_kernel linux-image-amd64)        # kernels.sh: a kernel package, unpacked; built once, then cached
#   root=$(vm_root base "$kernel" "" "$VM_PACKAGES")   # a Debian root file system with these modules and packages
#   vm_boot --kernel "$kernel" --root "$root" --payload DIR --out DIR [--timeout S] [--append ARGS] [-- QEMU-ARGS]
#
# The guest gets DIR as a tar on its second disk, unpacks it into /run/payload and runs `./run` there as
# root, under systemd. What that prints goes to OUT/report.txt (second serial port); kernel and systemd
# write to OUT/console.log (first). `vm_boot` succeeds when `./run` did and the guest powered off.
# Each boot starts from the same image: what a guest writes is thrown away.
#
# Environment: LASTGASP_TEST_CACHE (where images are kept), VM_SUITE, VM_MIRROR, VM_ACCEL (such as
# "-accel kvm -cpu host"), CI (true: install what is missing, and fail where it would be skipped).

. "$(dirname "${BASH_SOURCE[0]}")/kernels.sh"

# The least that boots with systemd as PID 1.
# shellcheck disable=SC2034 # for those who source this
VM_PACKAGES=systemd-sysv,udev,kmod,iproute2
# Host program, and the Debian package that has it.
VM_TOOLS="qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs cpio:cpio depmod:kmod xz:xz-utils tar:tar busybox:busybox-static"
# For the proving ground, which builds a kernel module and a small initramfs.
# shellcheck disable=SC2034
VM_CRASH_TOOLS="qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs debugfs:e2fsprogs cpio:cpio depmod:kmod xz:xz-utils tar:tar
 busybox:busybox-static dmsetup:dmsetup gcc:gcc gcc-12:gcc-12 make:make python3:python3-minimal"

# Ends the script because something is missing here: skipped, or in CI failed.
vm_skip() {
    if [ "${CI:-}" = true ]; then
        vm_say "FAILED, because CI must not skip: $*"
        exit 1
    fi
    vm_say "SKIPPED: $*"
    exit 77
}

# vm_require [TOOLS]: programs for guests with a root file system of their own; or these (program:package).
vm_require() {
    [ -n "$VM_MIRROR" ] || vm_skip "apt knows no source of $VM_SUITE here (set VM_MIRROR)"
    local pair missing=() tools=${1:-$VM_TOOLS}
    [ "$(uname -m)" = x86_64 ] || vm_skip "guests are x86_64, this machine is $(uname -m)"
    for pair in $tools; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        vm_say "installing ${missing[*]}"
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >&2 </dev/null && return 0
    fi
    vm_skip "missing here: apt-get install --no-install-recommends ${missing[*]}"
}

# $LASTGASP: a program that needs no library of the guest's. Run from the root of the source.
vm_static_program() {
    local target
    target=$(uname -m)-unknown-linux-gnu
    [ -z "${LASTGASP:-}" ] || return 0
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target"
    LASTGASP=$(realpath "${CARGO_TARGET_DIR:-target}/$target/release/lastgasp")
    export LASTGASP
}

# Only for guests with a root file system of their own: a proving-ground guest needs no root.
vm_require_root() { [ "$(id -u)" = 0 ] || vm_skip "building a root file system needs root"; }

# Prints the path of an ext4 image: name, kernel directory, module names, package names (comma-separated).
# A fifth argument, a shell command, is run with the root directory as $1 before the image is made.
vm_root() { vm_locked vm_root_build "$@"; }

vm_root_build() {
    local name=$1 kernel=$2 modules=$3 packages=$4 hook=${5:-} release key image dir
    release=$(cat "$kernel/release")
    key=$(printf '%s\n' "$release" "$modules" "$packages" "$hook" "$VM_SUITE" "$VM_MIRROR" "$(declare -f vm_root_build vm_root_furnish)" | sha256sum | cut -c1-12)
    image=$VM_CACHE/root/$name-$key.img
    if [ ! -e "$image" ]; then
        mkdir -p "$VM_CACHE/root"
        rm -f "$VM_CACHE/root/$name"-*.img
        dir=$(mktemp -d "$VM_CACHE/root-XXXXXX")
        chmod 755 "$dir"
        vm_say "building a $VM_SUITE root file system ($packages)"
        if ! mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
            --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Languages "none"' \
            "$VM_SUITE" "$dir" "$VM_MIRROR" >&2 </dev/null; then
            rm -rf --one-file-system "$dir"
            vm_say "mmdebstrap failed"
            return 1
        fi
        vm_root_furnish "$dir" "$kernel" "$release" "$modules"
        if [ -n "$hook" ]; then
            bash -ec "$hook" hook "$dir" >&2
        fi
        truncate -s 2G "$image.part"
        mke2fs -q -t ext4 -L root -d "$dir" "$image.part" >&2
        rm -rf --one-file-system "$dir"
        mv "$image.part" "$image"
    fi
    echo "$image"
}

vm_root_furnish() {
    local dir=$1 kernel=$2 release=$3 modules=$4 file to
    mkdir -p "$dir/lib/modules/$release"
    for file in modules.builtin modules.builtin.modinfo modules.order; do
        cp "$kernel/lib/modules/$release/$file" "$dir/lib/modules/$release/"
    done
    # shellcheck disable=SC2086 # a list of words
    for file in $(vm_module_files "$kernel" "$release" $modules); do
        to=$dir/${file#"$kernel"/}
        mkdir -p "${to%/*}"
        cp "$file" "$to"
    done
    depmod -b "$dir" "$release"
    echo guest >"$dir/etc/hostname"
    printf '127.0.0.1 localhost guest\n' >"$dir/etc/hosts"
    : >"$dir/etc/machine-id"
    : >"$dir/etc/fstab"
    # Nothing that a test does not ask for takes the guest's slow processor.
    local unit
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
        getty@tty1.service serial-getty@ttyS0.service systemd-networkd-wait-online.service; do
        ln -sf /dev/null "$dir/etc/systemd/system/$unit"
    done
    cat >"$dir/usr/local/sbin/guest-run" <<'RUN'
#!/bin/sh
echo "guest: begin $(uname -r) after $(cut -d' ' -f1 /proc/uptime) s"
mkdir -p /run/payload
cd /run/payload
tar -xf /dev/vdb
./run
echo "guest: end $? after $(cut -d' ' -f1 /proc/uptime) s"
RUN
    chmod +x "$dir/usr/local/sbin/guest-run"
    cat >"$dir/etc/systemd/system/guest-run.service" <<'UNIT'
[Unit]
Description=The test that this guest was booted for
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
ExecStart=/usr/local/sbin/guest-run
TimeoutStartSec=infinity
UNIT
    # Not part of the boot transaction, so that the test sees a system that has finished booting.
    cat >"$dir/etc/systemd/system/guest-run.timer" <<'UNIT'
[Timer]
OnActiveSec=0
AccuracySec=100ms
[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p "$dir/etc/systemd/system/multi-user.target.wants"
    ln -s ../guest-run.timer "$dir/etc/systemd/system/multi-user.target.wants/guest-run.timer"
}

# A script that is told to end takes its guest with it.
vm_stop() {
    kill "$VM_PID"
    exit 130
}

# Boots a guest and waits for its end; see the head of this file. Tries once more when it did not get
# as far as the payload: an emulated processor now and then loses a timer interrupt while booting.
vm_boot() {
    local kernel='' root='' payload='' out='' timeout=300 append='' memory=1024
    while [ $# -gt 0 ]; do
        case $1 in
        --kernel) kernel=$2 ;;
        --root) root=$2 ;;
        --payload) payload=$2 ;;
        --out) out=$2 ;;
        --timeout) timeout=$2 ;;
        --append) append=$2 ;;
        --memory) memory=$2 ;;
        --) shift && break ;;
        *) vm_say "vm_boot: what is $1?" && return 2 ;;
        esac
        shift 2
    done
    mkdir -p "$out"
    tar -C "$payload" -cf "$out/payload.tar" .
    local try rc accel
    # A nested /dev/kvm may be there and boot nothing, so emulation is the default: slow, but the same everywhere.
    read -ra accel <<<"${VM_ACCEL:--accel tcg -cpu qemu64}"
    for try in 1 2; do
        rm -f "$out/console.log" "$out/report.txt"
        rc=0
        # The guest's own end is awaited; the timeout is for one that hangs.
        timeout --kill-after=10 "$timeout" qemu-system-x86_64 "${accel[@]}" -smp 2 -m "$memory" \
            -nodefaults -display none -no-reboot \
            -kernel "$kernel/vmlinuz" -initrd "$kernel/initramfs" \
            -append "console=ttyS0 no_timer_check panic=-1 net.ifnames=0 $append" \
            -drive "file=$root,if=virtio,format=raw,snapshot=on" \
            -drive "file=$out/payload.tar,if=virtio,format=raw,readonly=on" \
            -serial "file:$out/console.log" -serial "file:$out/report.txt" \
            "$@" </dev/null >"$out/qemu.log" 2>&1 &
        VM_PID=$!
        trap vm_stop TERM INT HUP
        wait "$VM_PID" || rc=$?
        trap - TERM INT HUP
        grep -q '^guest: begin' "$out/report.txt" 2>/dev/null && break
        vm_say "the guest did not come up (qemu ended with $rc; try $try): $out/console.log"
    done
    rm -f "$out/payload.tar"
    # A serial line ends in CR LF.
    [ -e "$out/report.txt" ] && sed -i 's/\r$//' "$out/report.txt"
    if [ "$rc" != 0 ]; then
        vm_say "qemu ended with $rc (124: not done after $timeout s); see $out"
        return 1
    fi
    grep -q '^guest: end 0 ' "$out/report.txt" 2>/dev/null
}
