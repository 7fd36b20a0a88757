# shellcheck shell=bash
# Debian's kernels for guests, unpacked into a cache directory without installing anything; sourced.
#
#   kernel=$(vm_kernel linux-image-amd64 [SUITE])       # DIR: vmlinuz, lib/modules/VERSION, release (its version), initramfs
#   headers=$(vm_headers linux-headers-amd64 [SUITE])   # what a module for it is built against
#
# Without SUITE a package comes from this machine's own apt sources; with one (such as bookworm-backports) from
# that suite, with package lists of its own, so that the machine's sources stay as they are.
#
# Environment: LASTGASP_TEST_CACHE (where all is kept), VM_SUITE, VM_MIRROR.

VM_CACHE=${LASTGASP_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lastgasp-tests}
VM_SUITE=${VM_SUITE:-bookworm}
# Where packages come from: the same place as this machine's own.
VM_MIRROR=${VM_MIRROR:-$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n "s|^$VM_SUITE \(.*[^/]\)/*\$|\1|p" | sort -u | sed -n 1p || true)}
vm_say() { printf 'vm: %s\n' "$*" >&2; }

# Runs "$@" under a lock, so that two scripts do not build the same thing; prints nothing of its own.
vm_locked() {
    mkdir -p "$VM_CACHE"
    (
        flock 9
        "$@"
    ) 9>"$VM_CACHE/lock"
}

# Runs an apt program on the package lists of a suite; an empty suite is this machine's own sources.
vm_apt() {
    local suite=$1 program=$2 apt options=()
    shift 2
    if [ -n "$suite" ]; then
        apt=$VM_CACHE/apt/$suite
        options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
            -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
        # Lists older than a day may name packages that are gone.
        if [ -z "$(find "$apt/stamp" -mtime -1 2>/dev/null)" ]; then
            mkdir -p "$apt"/{lists/partial,cache/archives/partial}
            echo "deb $VM_MIRROR $suite main" >"$apt/sources.list"
            apt-get "${options[@]}" -qq update >&2 </dev/null
            touch "$apt/stamp"
        fi
    fi
    "$program" "${options[@]}" "$@"
}

# The package of this name that a metapackage stands for.
vm_real_package() { # SUITE PACKAGE PATTERN
    local real
    real=$(vm_apt "$1" apt-cache depends "$2" | sed -n "s/^  Depends: \($3\)/\1/p" | head -n 1)
    echo "${real:-$2}"
}

# Downloads packages and unpacks them into a directory.
vm_unpack() { # SUITE DIR PACKAGE...
    local suite=$1 dir=$2 work deb
    shift 2
    work=$(mktemp -d "$VM_CACHE/debs-XXXXXX")
    # apt's own user may not write here, which it says at length.
    if ! (cd "$work" && vm_apt "$suite" apt-get -qq download "$@" 2>"$work/log"); then
        cat "$work/log" >&2
        rm -rf "$work"
        vm_say "cannot download $* (apt-get update?)"
        return 1
    fi
    for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$dir"; done
    rm -rf "$work"
}

# Prints the directory of a kernel package: vmlinuz, lib/modules/VERSION, release (its version).
vm_kernel() { vm_locked vm_kernel_build "$1" "${2:-}"; }

vm_kernel_build() {
    local package suite=$2 dir work release
    package=$(vm_real_package "$suite" "$1" 'linux-image-.*')
    dir=$VM_CACHE/kernel/$package
    if [ ! -e "$dir/release" ]; then
        work=$(mktemp -d "$VM_CACHE/kernel-XXXXXX")
        vm_say "unpacking $package"
        if ! vm_unpack "$suite" "$work/root" "$package"; then
            rm -rf "$work"
            return 1
        fi
        mkdir -p "$VM_CACHE/kernel"
        rm -rf "$dir" && mkdir "$dir"
        mv "$work"/root/boot/vmlinuz-* "$dir/vmlinuz"
        # Where /usr is merged, modules lie below usr/lib.
        mkdir "$dir/lib"
        mv "$work"/root/{usr/,}lib/modules "$dir/lib/" 2>/dev/null || true
        rm -rf "$work"
        release=$(basename "$dir"/lib/modules/*)
        # A guest's busybox loads modules that are not compressed.
        find "$dir/lib/modules" -name '*.ko.xz' -exec xz -d {} +
        depmod -b "$dir" "$release"
        vm_initramfs "$dir" "$release"
        echo "$release" >"$dir/release"
    fi
    echo "$dir"
}

# Prints the directory that a module for a kernel is built against (`make -C DIR M=…`).
vm_headers() { vm_locked vm_headers_build "$1" "${2:-}"; }

vm_headers_build() {
    local package suite=$2 dir needs file
    package=$(vm_real_package "$suite" "$1" 'linux-headers-.*')
    dir=$VM_CACHE/headers/$package
    if [ ! -e "$dir/complete" ]; then
        vm_say "unpacking $package"
        rm -rf "$dir" && mkdir -p "$dir"
        needs=$(vm_apt "$suite" apt-cache depends "$package" | sed -n 's/^[ |]*Depends: \(linux-\(headers\|kbuild\)-.*\)/\1/p')
        # shellcheck disable=SC2086 # a list of words
        vm_unpack "$suite" "$dir" "$package" $needs || return 1
        # They name each other by the place where they would be installed.
        for file in "$dir/usr/src/$package/Makefile" "$dir/usr/src/$package/.kernelvariables"; do
            [ ! -e "$file" ] || sed -i "s|/usr/src/|$dir/usr/src/|g" "$file"
        done
        touch "$dir/complete"
    fi
    echo "$dir/usr/src/$package"
}

# The files of modules and of what they need, one a line, in the order in which they load.
vm_module_files() {
    local dir=$1 release=$2
    shift 2
    local module
    for module in "$@"; do
        modprobe -d "$dir" -S "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | awk '!seen[$0]++'
}

# A tiny initramfs that finds the root disk: busybox and the modules for it.
vm_initramfs() {
    local dir=$1 release=$2 work file n=0
    work=$(mktemp -d "$VM_CACHE/initramfs-XXXXXX")
    mkdir -p "$work"/{bin,dev,proc,sys,root,modules}
    cp "$(command -v busybox)" "$work/bin/busybox"
    for file in $(vm_module_files "$dir" "$release" virtio_pci virtio_blk ext4 crc32c_generic); do
        n=$((n + 1))
        cp "$file" "$work/modules/$(printf %03d $n)-$(basename "$file")"
    done
    cat >"$work/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for m in /modules/*; do insmod "$m" || echo "initramfs: $m does not load"; done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do n=$((n + 1)); usleep 100000; done
mount -t ext4 /dev/vda /root || echo "initramfs: no root file system"
umount /sys
umount /proc
mount --move /dev /root/dev
exec switch_root /root /sbin/init
INIT
    chmod +x "$work/init"
    (cd "$work" && find . | cpio --quiet -o -H newc | gzip -1) >"$dir/initramfs"
    rm -rf "$work"
}

