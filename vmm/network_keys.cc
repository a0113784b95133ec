// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_keys.h"

#include <algorithm>
#include <array>

#include "vmm/exit_device_options.h"

namespace tapir::vmm {
namespace {

using Type = KeySpec::Type;
using Kind = KeyGroup::Kind;

constexpr std::string_view kNoVhost = "tapir moves the frames itself and has no vhost-net as yet";

constexpr KeySpec kTypeKey{.name = "type",
                           .value = "TYPE",
                           .help = "one of tap, bridge and hubport; the first item",
                           .example = "tap"};
constexpr KeySpec kIdKey{.name = "id",
                         .type = Type::kIdentifier,
                         .value = "ID",
                         .help = "name by which others refer to it; -netdev needs one",
                         .example = "n0"};
constexpr KeySpec kBridgeKey{.name = "br",
                             .type = Type::kInterface,
                             .value = "BRIDGE",
                             .standard = "br0",
                             .help = "bridge of the host that the helper puts the tap on",
                             .example = "br0",
                             .min = 1};
constexpr KeySpec kHelperKey{.name = "helper",
                             .value = "COMMAND",
                             .help = "program that makes the tap, with arguments or without",
                             .example = "/usr/lib/qemu/qemu-bridge-helper",
                             .min = 1};
constexpr KeySpec kQueuesKey{.name = "queues",
                             .type = Type::kNumber,
                             .value = "N",
                             .standard = "1",
                             .help = "queues of the tap, 1 to 16; a NIC with mq=on uses them all",
                             .example = "2",
                             .min = 1,
                             .max = kMaxQueues};
constexpr KeySpec kIoKey{.name = "io",
                         .type = Type::kChoice,
                         .value = "auto|uring|sync",
                         .standard = "auto",
                         .help =
                             "how frames move: over io_uring, or by plain system calls; auto takes "
                             "uring where it can be had",
                         .example = "sync"};
constexpr KeySpec kPollKey{.name = "poll-us",
                           .type = Type::kNumber,
                           .value = "N",
                           .standard = "0",
                           .help =
                               "microseconds that the I/O thread looks for frames and kicks before it "
                               "sleeps; less latency for more CPU time",
                           .example = "50",
                           .max = UINT32_MAX};
constexpr KeySpec kDownHelperKey{.name = "down-helper",
                                 .value = "COMMAND",
                                 .help = "run when a tap that a helper made goes",
                                 .example = "/usr/local/sbin/tap-down",
                                 .min = 1};

constexpr std::array kTapKeys{
    kTypeKey,
    kIdKey,
    KeySpec{.name = "ifname",
            .type = Type::kInterface,
            .value = "NAME",
            .help = "tap or macvtap to use, or tap to make; if not given the kernel picks tapN",
            .example = "tap0"},
    KeySpec{.name = "dev",
            .value = "PATH",
            .standard = kTunDevice,
            .help = "device that is opened: /dev/tapN is a macvtap",
            .example = "/dev/tap5",
            .min = 1},
    KeySpec{.name = "fd",
            .type = Type::kDescriptor,
            .value = "N",
            .help = "an open tap or macvtap that tapir inherits",
            .example = "3"},
    KeySpec{.name = "fds",
            .type = Type::kDescriptors,
            .value = "N:N...",
            .help = "the same with one descriptor for each queue",
            .example = "3:4"},
    KeySpec{.name = "script",
            .value = "FILE|no",
            .standard = "the installation's ifup",
            .help = "run with the interface's name before the guest starts",
            .example = "no"},
    KeySpec{.name = "downscript",
            .value = "FILE|no",
            .standard = "the installation's ifdown",
            .help = "run with the interface's name after the guest has ended",
            .example = "no"},
    kHelperKey,
    kBridgeKey,
    kDownHelperKey,
    KeySpec{.name = "vnet_hdr",
            .type = Type::kFlag,
            .value = "on|off",
            .standard = "on if the tap has it",
            .help = "whether frames carry the header that offloads need",
            .example = "on"},
    KeySpec{.name = "sndbuf",
            .type = Type::kSize,
            .value = "SIZE",
            .standard = "without limit",
            .help = "bytes that may wait in the tap; 0 is without limit",
            .example = "1M"},
    kQueuesKey,
    kIoKey,
    kPollKey,
    KeySpec{.name = "vhost", .type = Type::kOffOnly, .value = "off", .help = kNoVhost, .example = "off"},
    KeySpec{.name = "vhostforce", .type = Type::kOffOnly, .value = "off", .help = kNoVhost, .example = "off"},
    KeySpec{.name = "vhostfd", .type = Type::kAbsent, .help = kNoVhost},
    KeySpec{.name = "vhostfds", .type = Type::kAbsent, .help = kNoVhost}};

constexpr std::array kBridgeKeys{kTypeKey,   kIdKey,         kBridgeKey, kHelperKey,
                                 kQueuesKey, kDownHelperKey, kIoKey,     kPollKey};

constexpr std::array kHubPortKeys{
    kTypeKey, kIdKey,
    KeySpec{.name = "hubid",
            .type = Type::kNumber,
            .value = "N",
            .help = "number of the hub; 0 is the hub of -net",
            .example = "1",
            .min = INT32_MIN,
            .max = INT32_MAX},
    KeySpec{.name = "netdev",
            .value = "ID",
            .help = "backend, given before, that is joined to the port; without "
                    "it the port is for a NIC",
            .example = "n0"}};

constexpr std::string_view kModelValue = "virtio|virtio-net-pci|virtio-net-device";
constexpr KeySpec kModelKey{
    .name = "model", .value = kModelValue, .standard = "virtio", .help = "kind of NIC", .example = "virtio"};
constexpr KeySpec kMacKey{.name = "mac",
                          .type = Type::kMacOrNumber,
                          .value = "MAC",
                          .standard = "see MAC ADDRESSES in tapir(1)",
                          .help = "address of the NIC",
                          .example = "52:54:00:12:34:56"};
constexpr KeySpec kAddressKey{.name = "addr",
                              .type = Type::kPciAddress,
                              .value = "SLOT",
                              .standard = "the first that is free",
                              .help = "slot on the PCI bus in hexadecimal, 1 to 1f",
                              .example = "5"};
constexpr KeySpec kVectorsKey{.name = "vectors",
                              .type = Type::kNumber,
                              .value = "N",
                              .standard = "one more than virtqueues",
                              .help = "MSI-X vectors; 0 is without MSI-X",
                              .example = "3",
                              .max = 0x7FF'FFFF};

constexpr std::array kNetNicKeys{
    KeySpec{.name = "type", .value = "nic", .help = "the word nic; the first item", .example = "nic"},
    KeySpec{.name = "netdev",
            .value = "ID",
            .standard = "the hub of -net",
            .help = "backend of this NIC alone",
            .example = "n0"},
    kModelKey,
    KeySpec{.name = "macaddr",
            .type = Type::kMacOrNumber,
            .value = "MAC",
            .standard = kMacKey.standard,
            .help = kMacKey.help,
            .example = kMacKey.example},
    kAddressKey,
    kVectorsKey,
    KeySpec{.name = "id",
            .type = Type::kIdentifier,
            .value = "ID",
            .help = "name of the NIC",
            .example = "nic0"}};

constexpr std::array kNicKeys{kModelKey, kMacKey};

constexpr std::array kGroups{
    KeyGroup{Kind::kBackend, "bridge", "a tap that the bridge helper makes and puts on a bridge",
             kBridgeKeys},
    KeyGroup{Kind::kBackend, "tap", "a tap or macvtap interface of the host", kTapKeys},
    KeyGroup{Kind::kBackend, "hubport", "a port of a hub, which sends every frame to all its other ports",
             kHubPortKeys},
    KeyGroup{Kind::kNetNic, "nic", "a NIC on the hub of -net, or with a netdev of its own", kNetNicKeys},
    KeyGroup{Kind::kNic, "nic", "beside the keys of the backend", kNicKeys}};

constexpr std::array<std::string_view, 14> kBackendsOfQemu = {
    "user",       "l2tpv3",     "socket", "stream", "dgram",      "vde",          "netmap",
    "vhost-user", "vhost-vdpa", "passt",  "af-xdp", "vmnet-host", "vmnet-shared", "vmnet-bridged"};

}  // namespace

std::span<const KeyGroup> network_key_groups() {
  static const std::array all_groups = [] {
    std::array<KeyGroup, kGroups.size() + 4> all;
    std::copy(kGroups.begin(), kGroups.end(), all.begin());
    all[kGroups.size()] = {Kind::kDevice, "virtio-net-pci", "a NIC on the PCI bus", device_keys(true)};
    all[kGroups.size() + 1] = {Kind::kDevice, "virtio-net-device",
                               "a NIC on virtio-mmio, which the guest finds through ACPI",
                               device_keys(false)};
    all[kGroups.size() + 2] = {Kind::kDevice, "isa-debug-exit",
                               "ports by which the guest ends the run, as QEMU's",
                               exit_device_keys("isa-debug-exit")};
    all[kGroups.size() + 3] = {Kind::kDevice, "tapir-exit",
                               "a port by which the guest chooses the exit status",
                               exit_device_keys("tapir-exit")};
    return all;
  }();
  return all_groups;
}

const KeyGroup* find_backend_keys(std::string_view type) {
  const auto* const found = std::find_if(kGroups.begin(), kGroups.end(), [&](const KeyGroup& group) {
    return group.kind == Kind::kBackend && group.name == type;
  });
  return found == kGroups.end() ? nullptr : found;
}

std::span<const KeySpec> net_nic_keys() {
  return kNetNicKeys;
}

std::span<const KeySpec> nic_keys() {
  return kNicKeys;
}

bool is_backend_of_qemu(std::string_view type) {
  return std::find(kBackendsOfQemu.begin(), kBackendsOfQemu.end(), type) != kBackendsOfQemu.end();
}

}  // namespace tapir::vmm
