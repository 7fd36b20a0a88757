#!/bin/bash
# Prints the directory of what a proving-ground guest boots, and makes it if it is not there: vmlinuz, initramfs,
# release (its version), lastgasp_fault.ko (for guests of another kind).
#
#   tests/vm/crash/image.sh KERNEL LASTGASP     6.1 | 6.1-rt | 6.12, and a statically linked lastgasp
#
# The initramfs holds busybox, dmsetup, the modules that scenarios ask for, our own module (built against the
# kernel's headers) and the program. Environment: as for ../kernels.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/vm/kernels.sh
. "$here/../kernels.sh"

# Drivers for the device sets of the scenarios, and what they need; a kernel that lacks one goes without.
MODULES="virtio_pci virtio_blk virtio_net virtio_scsi virtio_console virtio_balloon virtio_rng ext4 crc32c_generic crc32c-intel
 scsi_debug sd_mod sr_mod sg ahci ata_piix ata_generic nvme megaraid_sas mptsas sym53c8xx
 dm_mod dm-delay dm-flakey dm-mirror dm-snapshot dm-crypt raid1 raid456 loop zram null_blk nbd
 e1000 e1000e 8139cp 8139too vmxnet3 igb pcnet32 dummy veth bridge bonding tun nf_conntrack nf_tables iptable_nat
 xhci_pci ehci_pci uhci_hcd usb_storage uas usbhid hid_generic xfs btrfs vfat isofs udf overlay fuse squashfs nls_ascii nls_cp437
 snd_hda_intel snd_hda_codec_generic i6300esb softdog qemu_fw_cfg ramoops netconsole pcspkr evdev psmouse i2c_piix4 i2c_i801
 bochs cirrus virtio_gpu ipmi_si ipmi_devintf edac_core kvm tcp_bbr sch_fq sctp rpcsec_gss_krb5 nfsv4"

crash_image() {
    local name=$1 program=$2 flavour='' suite='' kernel headers release key dir work file module
    case $name in
    6.1) ;;
    6.1-rt) flavour=-rt ;;
    6.12) suite=$VM_SUITE-backports ;;
    *) vm_say "no kernel $name; there are: 6.1, 6.1-rt, 6.12" && return 2 ;;
    esac
    kernel=$(vm_kernel_build "linux-image$flavour-amd64" "$suite")
    headers=$(vm_headers_build "linux-headers$flavour-amd64" "$suite")
    release=$(cat "$kernel/release")
    key=$(cat "$here"/image.sh "$here"/guest/* "$here"/module/* "$program" <(echo "$release") | sha256sum | cut -c1-12)
    dir=$VM_CACHE/crash/$name-$key
    if [ ! -e "$dir/initramfs" ]; then
        vm_say "making the guest of $release"
        # Those of today may be in use.
        find "$VM_CACHE/crash" -maxdepth 1 -name "$name-*" -mtime +0 -exec rm -rf {} + 2>/dev/null || true
        work=$(mktemp -d "$VM_CACHE/crash-XXXXXX")
        mkdir -p "$work"/root/{bin,lib,proc,sys,dev} "$work/module"
        cp "$here"/module/* "$work/module/"
        # Without the kernel's own type information, which is not part of the headers.
        make -s -C "$headers" M="$work/module" CONFIG_DEBUG_INFO_BTF_MODULES= modules >&2
        cp "$work/module/lastgasp_fault.ko" "$work/root/lib/"
        gcc -static -O1 -Wall -o "$work/root/bin/program" "$here/guest/program.c"
        cp "$(command -v busybox)" "$work/root/bin/busybox"
        cp "$program" "$work/root/bin/lastgasp"
        # A program with its libraries, each where it looks for it.
        cp "$(command -v dmsetup)" "$work/root/bin/"
        ldd "$(command -v dmsetup)" | grep -o '/[^ ]*' | while read -r file; do
            mkdir -p "$work/root$(dirname "$file")"
            cp -L "$file" "$work/root$file"
        done
        cp "$here"/guest/init "$here"/guest/guest.sh "$work/root/"
        chmod +x "$work/root/init"
        for module in $MODULES; do
            vm_module_files "$kernel" "$release" "$module" 2>/dev/null || true
        done | sort -u | while read -r file; do
            mkdir -p "$work/root/$(dirname "${file#"$kernel"/}")"
            cp "$file" "$work/root/${file#"$kernel"/}"
        done
        cp "$kernel/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$work/root/lib/modules/$release/"
        depmod -b "$work/root" "$release"
        mkdir -p "$work/done"
        (cd "$work/root" && find . | cpio --quiet -o -H newc) >"$work/done/initramfs"
        cp "$kernel/vmlinuz" "$work/module/lastgasp_fault.ko" "$work/done/"
        echo "$release" >"$work/done/release"
        mkdir -p "$VM_CACHE/crash"
        mv "$work/done" "$dir"
        rm -rf "$work"
    fi
    echo "$dir"
}

[ $# = 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
vm_locked crash_image "$1" "$(realpath "$2")"
