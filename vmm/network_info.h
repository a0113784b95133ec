// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "net/mac_address.h"
#include "vmm/network_config.h"

namespace tapir::vmm {

/// What a NIC is called: its id, else `virtio-net-pci.N`, where `index` N counts the NICs.
std::string nic_name(const NicConfig& nic, unsigned index);

/// What it is joined to: the id of its netdev or hub, empty if that has none.
std::string peer_name(const NicConfig& nic, std::span<const HubConfig> hubs);

/// The line about a NIC and what it is joined to, in the words of QEMU's `info network` (net/net.c,
/// net/tap.c):
///
///     virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56 \ net0:
///     index=0,type=bridge,br=br0 nic1: ... \ n1: index=0,type=tap,ifname=tap0,script=no,downscript=no nic2:
///     ... \ n2: index=0,type=tap,ifname=macvtap0,script=no,downscript=no,dev=/dev/tap5
///
/// Of a NIC with mq=on every queue of its tap follows, with its number. A device is told only if it is not
/// the usual one, and a helper only if it was given. Every tap of a NIC's hub follows, after the hub. `index`
/// counts the NICs, `ifname` is the interface that was opened, of a NIC with a tap of its own. Pure.
std::string network_info(const NicConfig& nic, unsigned index, const net::MacAddress& mac,
                         std::string_view ifname, std::span<const HubConfig> hubs);

}  // namespace tapir::vmm
