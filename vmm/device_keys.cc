// SPDX-License-Identifier: Apache-2.0
// The properties of -device virtio-net-pci and virtio-net-device.
#include <linux/virtio_config.h>

#include <array>

#include "net/virtio_net_uapi.h"
#include "virtio/ring_layout.h"
#include "vmm/network_keys.h"

namespace tapir::vmm {
namespace {

using Type = KeySpec::Type;

constexpr std::uint64_t bit(unsigned number) {
  return std::uint64_t{1} << number;
}

/// A feature that tapir's device has, on unless switched off.
constexpr KeySpec feature(std::string_view name, unsigned number, std::string_view help) {
  return {.name = name,
          .type = Type::kFlag,
          .value = "on|off",
          .standard = "on",
          .help = help,
          .example = "off",
          .feature = bit(number)};
}

/// One that is off unless switched on, as in QEMU.
constexpr KeySpec feature_on_request(std::string_view name, unsigned number, std::string_view help) {
  return {.name = name,
          .type = Type::kFlag,
          .value = "on|off",
          .standard = "off",
          .help = help,
          .example = "on",
          .feature = bit(number)};
}

/// A flag without effect in tapir, whichever way.
constexpr KeySpec no_effect(std::string_view name, std::string_view standard, std::string_view help) {
  return {.name = name,
          .type = Type::kFlag,
          .value = "on|off",
          .standard = standard,
          .help = help,
          .example = "on"};
}

constexpr KeySpec off_only(std::string_view name, std::string_view reason) {
  return {.name = name, .type = Type::kOffOnly, .value = "off", .help = reason, .example = "off"};
}

constexpr std::string_view kNoUfo = "fragmenting UDP is left to the guest, as the kernel has given it up";
constexpr std::string_view kNoTunnel = "tapir has no offloads for frames in tunnels";
constexpr std::string_view kModernOnly = "tapir's devices follow virtio 1.0 and later only";

constexpr std::array kDeviceKeys{
    KeySpec{.name = "driver",
            .value = "virtio-net-pci|virtio-net-device",
            .help = "kind of device; the first item",
            .example = "virtio-net-pci"},
    KeySpec{.name = "id",
            .type = Type::kIdentifier,
            .value = "ID",
            .help = "name of the device",
            .example = "nic0"},
    KeySpec{.name = "netdev",
            .value = "ID",
            .standard = "none",
            .help = "backend, or port of a hub, that the NIC is joined to",
            .example = "n0"},
    KeySpec{.name = "mac",
            .type = Type::kMac,
            .value = "MAC",
            .standard = "see MAC ADDRESSES in tapir(1)",
            .help = "address of the NIC",
            .example = "52:54:00:12:34:56"},
    feature("csum", VIRTIO_NET_F_CSUM, "the host completes checksums of frames sent"),
    feature("guest_csum", VIRTIO_NET_F_GUEST_CSUM, "frames received may lack their checksum"),
    feature("host_tso4", VIRTIO_NET_F_HOST_TSO4, "the host segments TCP over IPv4"),
    feature("host_tso6", VIRTIO_NET_F_HOST_TSO6, "the host segments TCP over IPv6"),
    feature("host_ecn", VIRTIO_NET_F_HOST_ECN, "also TCP with ECN"),
    feature("host_uso", VIRTIO_NET_F_HOST_USO, "the host segments UDP"),
    feature("guest_tso4", VIRTIO_NET_F_GUEST_TSO4, "large TCP frames over IPv4 may be received"),
    feature("guest_tso6", VIRTIO_NET_F_GUEST_TSO6, "large TCP frames over IPv6 may be received"),
    feature("guest_ecn", VIRTIO_NET_F_GUEST_ECN, "also TCP with ECN"),
    feature("guest_uso4", VIRTIO_NET_F_GUEST_USO4, "large UDP frames over IPv4 may be received"),
    feature("guest_uso6", VIRTIO_NET_F_GUEST_USO6, "large UDP frames over IPv6 may be received"),
    feature("mrg_rxbuf", VIRTIO_NET_F_MRG_RXBUF, "a frame received may lie in several buffers"),
    feature("status", VIRTIO_NET_F_STATUS, "the guest learns whether the link is up"),
    feature("ctrl_vq", VIRTIO_NET_F_CTRL_VQ, "the guest has a control virtqueue, which what follows needs"),
    feature("ctrl_rx", VIRTIO_NET_F_CTRL_RX, "the guest chooses what is received"),
    feature("ctrl_rx_extra", VIRTIO_NET_F_CTRL_RX_EXTRA, "also by more modes"),
    feature("ctrl_vlan", VIRTIO_NET_F_CTRL_VLAN, "the guest chooses which VLANs are received"),
    feature("ctrl_mac_addr", VIRTIO_NET_F_CTRL_MAC_ADDR, "the guest may change the NIC's address"),
    feature("ctrl_guest_offloads", VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
            "the guest may switch offloads while it runs"),
    feature("notf_coal", VIRTIO_NET_F_NOTF_COAL,
            "the guest may let interrupts wait for each other (ethtool -C)"),
    feature("indirect_desc", VIRTIO_RING_F_INDIRECT_DESC, "descriptors may stand in a table of their own"),
    feature("event_idx", VIRTIO_RING_F_EVENT_IDX, "kicks and interrupts that nobody needs are left out"),
    feature("queue_reset", VIRTIO_F_RING_RESET, "a virtqueue may be reset alone"),
    KeySpec{.name = "mq",
            .type = Type::kFlag,
            .value = "on|off",
            .standard = "off",
            .help = "the guest may use a pair of virtqueues for each of the backend's queues",
            .example = "on"},
    feature_on_request("packed", VIRTIO_F_RING_PACKED, "virtqueues are packed when the guest knows how"),
    feature_on_request("in_order", VIRTIO_F_IN_ORDER, "buffers are used in the order in which they came"),
    KeySpec{.name = "host_mtu",
            .type = Type::kNumber,
            .value = "N",
            .standard = "the tap's",
            .help = "largest packet that the guest is told to send; 0 is the tap's, else 68 to 65521",
            .example = "1400",
            .max = UINT16_MAX},
    KeySpec{.name = "rx_queue_size",
            .type = Type::kQueueSize,
            .value = "256|512|1024",
            .standard = "256",
            .help = "descriptors of the receive virtqueue",
            .example = "1024",
            .min = 256,
            .max = 1024},
    KeySpec{.name = "tx_queue_size",
            .type = Type::kQueueSize,
            .value = "256|512|1024",
            .standard = "256",
            .help = "descriptors of the transmit virtqueue",
            .example = "512",
            .min = 256,
            .max = 1024},
    KeySpec{.name = "speed",
            .type = Type::kNumber,
            .value = "N",
            .standard = "unknown",
            .help = "Mbit/s that the guest is told; -1 is unknown",
            .example = "10000",
            .min = -1,
            .max = INT32_MAX},
    KeySpec{.name = "duplex",
            .type = Type::kChoice,
            .value = "half|full",
            .standard = "unknown",
            .help = "what the guest is told of the link",
            .example = "full"},
    KeySpec{.name = "bootindex",
            .type = Type::kNumber,
            .value = "N",
            .help = "without effect, for there is no firmware that boots",
            .example = "1",
            .min = INT32_MIN,
            .max = INT32_MAX},
    no_effect("ioeventfd", "on", "tapir always uses ioeventfds"),
    no_effect("any_layout", "on", "a matter of devices before virtio 1.0"),
    no_effect("guest_announce", "off", "guests never move, so they are never asked to announce themselves"),
    no_effect("gso", "on", "a matter of devices before virtio 1.0"),
    no_effect("notify_on_empty", "on", "likewise"),
    KeySpec{.name = "tx",
            .type = Type::kChoice,
            .value = "bh",
            .standard = "bh",
            .help = "sends at once",
            .example = "bh"},
    KeySpec{.name = "x-txburst",
            .type = Type::kNumber,
            .value = "N",
            .help = "without effect",
            .example = "256",
            .min = INT32_MIN,
            .max = INT32_MAX},
    KeySpec{.name = "x-txtimer",
            .type = Type::kNumber,
            .value = "N",
            .help = "without effect",
            .example = "150000",
            .max = UINT32_MAX},
    KeySpec{.name = "rsc_interval",
            .type = Type::kNumber,
            .value = "N",
            .help = "without effect",
            .example = "300000",
            .max = UINT32_MAX},
    off_only("guest_ufo", kNoUfo), off_only("host_ufo", kNoUfo), off_only("host_tunnel", kNoTunnel),
    off_only("guest_tunnel", kNoTunnel), off_only("host_tunnel_csum", kNoTunnel),
    off_only("guest_tunnel_csum", kNoTunnel),
    off_only("guest_rsc_ext", "tapir does not merge received segments"),
    off_only("rss", "the tap spreads frames over its queues by itself"),
    off_only("hash", "the tap tells no hash of a frame"),
    off_only("failover", "tapir does not migrate guests"),
    off_only("iommu_platform", "there is no IOMMU in tapir's machine"),
    KeySpec{.name = "failover_pair_id", .type = Type::kAbsent, .help = "tapir does not migrate guests"},
    // What follows is of PCI.
    KeySpec{.name = "bus",
            .type = Type::kChoice,
            .value = "pcie.0|pci.0",
            .standard = "pcie.0",
            .help = "tapir's machine has one PCI bus",
            .example = "pcie.0"},
    KeySpec{.name = "addr",
            .type = Type::kPciAddress,
            .value = "SLOT",
            .standard = "the first that is free",
            .help = "slot on the PCI bus in hexadecimal, 1 to 1f",
            .example = "5"},
    KeySpec{.name = "vectors",
            .type = Type::kNumber,
            .value = "N",
            .standard = "one more than virtqueues",
            .help = "MSI-X vectors; 0 is without MSI-X",
            .example = "3",
            .max = UINT32_MAX},
    KeySpec{.name = "disable-legacy",
            .type = Type::kChoice,
            .value = "on|auto",
            .standard = "on",
            .help = kModernOnly,
            .example = "on"},
    KeySpec{.name = "acpi-index", .type = Type::kAbsent, .help = "guests name NICs by their slots in tapir"},
    off_only("disable-modern", kModernOnly),
    KeySpec{.name = "romfile", .type = Type::kChoice, .value = "", .help = "there is no ROM"},
    KeySpec{.name = "rombar",
            .type = Type::kNumber,
            .value = "N",
            .standard = "1",
            .help = "without effect, for there is no ROM",
            .example = "0",
            .max = UINT32_MAX},
    off_only("multifunction", "tapir's devices have a slot each"),
    off_only("ats", "there is no IOMMU in tapir's machine"),
    off_only("aer", "tapir's devices have no PCI Express errors"),
    off_only("page-per-vq", "all virtqueues are kicked in one page"),
    off_only("modern-pio-notify", "virtqueues are kicked through memory only")};
constexpr std::size_t kPciKeys = 13;

}  // namespace

std::span<const KeySpec> device_keys(bool pci) {
  return std::span(kDeviceKeys).first(kDeviceKeys.size() - (pci ? 0 : kPciKeys));
}

}  // namespace tapir::vmm
