// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_info.h"

#include <fmt/format.h>

namespace tapir::vmm {
namespace {

std::string_view script_text(const ScriptConfig& script) {
  return script.path.empty() ? std::string_view("no") : script.path;
}

std::string tap_info(const TapConfig& tap, std::string_view ifname) {
  const std::string helper =
      tap.bridge && tap.bridge->helper ? fmt::format(",helper={}", *tap.bridge->helper) : "";
  if (tap.bridge) {
    return fmt::format("{}: index=0,type=bridge,br={}{}", tap.id, tap.bridge->bridge, helper);
  }
  std::string text = fmt::format("{}: index=0,type=tap,", tap.id);
  if (!tap.fds.empty()) {
    return text + fmt::format("{}={}", tap.fds.size() == 1 ? "fd" : "fds", fmt::join(tap.fds, ":"));
  }
  text.append(fmt::format("ifname={},script={},downscript={}", ifname, script_text(tap.up_script),
                          script_text(tap.down_script)));
  return tap.device == kTunDevice ? text : text + ",dev=" + tap.device;
}

}  // namespace

std::string network_info(const NicConfig& nic, unsigned index, const net::MacAddress& mac,
                         std::string_view ifname, std::span<const HubConfig> hubs) {
  const std::string_view model =
      nic.model == NicModel::kVirtioNetPci ? "virtio-net-pci" : "virtio-net-device";
  std::string text =
      fmt::format("{}: index=0,type=nic,model={},macaddr={}",
                  nic.id.empty() ? fmt::format("{}.{}", model, index) : nic.id, model, mac.to_string());
  if (nic.backend) {
    text.append(" \\ ").append(tap_info(*nic.backend, ifname));
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
