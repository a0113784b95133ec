// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_info.h"

#include <fmt/format.h>

namespace tapir::vmm {
namespace {

std::string_view model_name(NicModel model) {
  return model == NicModel::kVirtioNetPci ? "virtio-net-pci" : "virtio-net-device";
}

std::string_view script_text(const ScriptConfig& script) {
  return script.path.empty() ? std::string_view("no") : script.path;
}

/// Of one queue of the tap.
std::string tap_info(const TapConfig& tap, std::string_view ifname, unsigned queue = 0) {
  const std::string helper =
      tap.bridge && tap.bridge->helper ? fmt::format(",helper={}", *tap.bridge->helper) : "";
  if (tap.bridge) {
    return fmt::format("{}: index={},type=bridge,br={}{}", tap.id, queue, tap.bridge->bridge, helper);
  }
  std::string text = fmt::format("{}: index={},type=tap,", tap.id, queue);
  if (!tap.fds.empty()) {
    return text + fmt::format("fd={}", tap.fds[queue]);
  }
  text.append(fmt::format("ifname={},script={},downscript={}", ifname, script_text(tap.up_script),
                          script_text(tap.down_script)));
  return tap.device == kTunDevice ? text : text + ",dev=" + tap.device;
}

}  // namespace

std::string nic_name(const NicConfig& nic, unsigned index) {
  return nic.id.empty() ? fmt::format("{}.{}", model_name(nic.model), index) : nic.id;
}

std::string peer_name(const NicConfig& nic, std::span<const HubConfig> hubs) {
  if (nic.backend) {
    return nic.backend->id;
  }
  return nic.hub ? fmt::format("hub {}", hubs[*nic.hub].id) : std::string();
}

std::string network_info(const NicConfig& nic, unsigned index, const net::MacAddress& mac,
                         std::string_view ifname, std::span<const HubConfig> hubs) {
  std::string text = fmt::format("{}: index=0,type=nic,model={},macaddr={}", nic_name(nic, index),
                                 model_name(nic.model), mac.to_string());
  if (nic.backend) {
    const unsigned queues = nic.multi_queue ? nic.backend->queues : 1;
    for (unsigned queue = 0; queue < queues; ++queue) {
      text.append(" \\ ").append(tap_info(*nic.backend, ifname, queue));
    }
  }
  if (nic.hub) {
    const HubConfig& hub = hubs[*nic.hub];
    text.append(fmt::format(" \\ hub {}", hub.id));
    for (const TapConfig& tap : hub.taps) {
      text.append(" \\ ").append(tap_info(tap, tap.ifname));
    }
  }
  return text;
}

}  // namespace tapir::vmm
