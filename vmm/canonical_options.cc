// SPDX-License-Identifier: Apache-2.0
#include "vmm/canonical_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "net/bridge_client.h"
#include "vmm/end_options.h"
#include "vmm/exit_device_options.h"
#include "vmm/network_keys.h"

namespace tapir::vmm {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

std::string doubled_commas(std::string_view text) {
  std::string doubled;
  for (const char c : text) {
    doubled.append(c == ',' ? 2 : 1, c);
  }
  return doubled;
}

/// An argument of the kind `head,key=value`.
class Argument {
 public:
  explicit Argument(std::string_view head) : text_(head) {}
  void add(std::string_view key, std::string_view value) {
    text_.append(fmt::format(",{}={}", key, doubled_commas(value)));
  }
  void add_number(std::string_view key, std::int64_t value) { add(key, fmt::format("{}", value)); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string quoted(std::string_view word) {
  std::string text = "'";
  for (const char c : word) {
    text.append(c == '\'' ? "'\\''" : std::string(1, c));
  }
  return text + "'";
}

void add_script(Argument& argument, std::string_view key, const ScriptConfig& script) {
  if (script.given) {
    argument.add(key, script.path.empty() ? "no" : script.path);
  }
}

void add_data_path(Argument& argument, const TapConfig& tap) {
  if (tap.sndbuf) {
    argument.add("sndbuf", fmt::format("{}", *tap.sndbuf));
  }
  if (tap.engine != net::EngineChoice::kAuto) {
    argument.add("io", tap.engine == net::EngineChoice::kSync ? "sync" : "uring");
  }
  if (tap.poll_microseconds != 0) {
    argument.add_number("poll-us", tap.poll_microseconds);
  }
}

std::string bridge_argument(const TapConfig& tap) {
  const BridgeConfig& bridge = *tap.bridge;
  Argument argument(tap.sndbuf ? "tap" : "bridge");
  argument.add("id", tap.id);
  const auto named =
      bridge.helper ? net::bridge_in_helper(*bridge.helper) : Result<std::optional<std::string>>();
  if (bridge.bridge != BridgeConfig{}.bridge && !(named && *named)) {
    argument.add("br", bridge.bridge);
  }
  if (bridge.helper) {
    argument.add("helper", *bridge.helper);
  }
  if (!bridge.down_command.empty()) {
    argument.add("down-helper", shell_text(bridge.down_command));
  }
  if (tap.queues > 1) {
    argument.add_number("queues", tap.queues);
  }
  add_data_path(argument, tap);
  return argument.text();
}

std::string tap_argument(const TapConfig& tap) {
  if (tap.bridge) {
    return bridge_argument(tap);
  }
  Argument argument("tap");
  argument.add("id", tap.id);
  if (!tap.fds.empty()) {
    argument.add(tap.fds.size() == 1 ? "fd" : "fds", fmt::format("{}", fmt::join(tap.fds, ":")));
  } else {
    if (!tap.ifname.empty()) {
      argument.add("ifname", tap.ifname);
    }
    if (tap.device != kTunDevice) {
      argument.add("dev", tap.device);
    }
    add_script(argument, "script", tap.up_script);
    add_script(argument, "downscript", tap.down_script);
    if (tap.vnet_header) {
      argument.add("vnet_hdr", *tap.vnet_header ? "on" : "off");
    }
    if (tap.queues > 1) {
      argument.add_number("queues", tap.queues);
    }
  }
  add_data_path(argument, tap);
  return argument.text();
}

std::string nic_argument(const NicConfig& nic, std::string_view netdev) {
  const NicConfig standard;
  Argument argument(nic.model == NicModel::kVirtioNetPci ? "virtio-net-pci" : "virtio-net-device");
  if (!netdev.empty()) {
    argument.add("netdev", netdev);
  }
  if (!nic.id.empty()) {
    argument.add("id", nic.id);
  }
  if (nic.mac) {
    argument.add("mac", nic.mac->to_string());
  }
  for (const KeySpec& key : device_keys(true)) {
    if (((nic.features_off ^ standard.features_off) & key.feature) != 0) {
      argument.add(key.name, (nic.features_off & key.feature) != 0 ? "off" : "on");
    }
  }
  if (nic.multi_queue) {
    argument.add("mq", "on");
  }
  if (nic.host_mtu != 0) {
    argument.add_number("host_mtu", nic.host_mtu);
  }
  if (nic.rx_queue_size != standard.rx_queue_size) {
    argument.add_number("rx_queue_size", nic.rx_queue_size);
  }
  if (nic.tx_queue_size != standard.tx_queue_size) {
    argument.add_number("tx_queue_size", nic.tx_queue_size);
  }
  if (nic.speed) {
    argument.add_number("speed", *nic.speed);
  }
  if (nic.duplex != NicConfig::Duplex::kUnknown) {
    argument.add("duplex", nic.duplex == NicConfig::Duplex::kHalf ? "half" : "full");
  }
  if (nic.bootindex) {
    argument.add_number("bootindex", *nic.bootindex);
  }
  if (nic.address) {
    argument.add("addr", fmt::format("{:x}", nic.address->slot));
  }
  if (nic.vectors) {
    argument.add_number("vectors", *nic.vectors);
  }
  return argument.text();
}

/// The options of the network, with ids for the ports of hubs.
class NetworkPrinter {
 public:
  NetworkPrinter(const MachineConfig& machine, std::vector<std::string>& words)
      : machine_(machine), words_(words) {}

  void print() {
    for (const NicConfig& nic : machine_.nics) {
      if (nic.backend) {
        add("-netdev", tap_argument(*nic.backend));
      }
    }
    for (const HubConfig& hub : machine_.hubs) {
      for (const TapConfig& tap : hub.taps) {
        add("-netdev", tap_argument(tap));
        add_port(hub, tap.id);
      }
    }
    std::vector<std::string> netdevs;
    for (const NicConfig& nic : machine_.nics) {
      netdevs.push_back(nic.backend ? nic.backend->id
                        : nic.hub   ? add_port(machine_.hubs[*nic.hub], {})
                                    : std::string());
    }
    for (std::size_t i = 0; i < netdevs.size(); ++i) {
      add("-device", nic_argument(machine_.nics[i], netdevs[i]));
    }
  }

 private:
  void add(std::string_view option, std::string argument) {
    words_.emplace_back(option);
    words_.push_back(std::move(argument));
  }

  std::string add_port(const HubConfig& hub, std::string_view netdev) {
    std::string id;
    do {
      id = fmt::format("port{}", ports_++);
    } while (is_taken(id));
    Argument argument("hubport");
    argument.add("id", id);
    argument.add_number("hubid", hub.id);
    if (!netdev.empty()) {
      argument.add("netdev", netdev);
    }
    add("-netdev", argument.text());
    return id;
  }

  bool is_taken(std::string_view id) const {
    const auto has_it = [&](const TapConfig& tap) { return tap.id == id; };
    return std::any_of(machine_.nics.begin(), machine_.nics.end(),
                       [&](const NicConfig& nic) { return nic.backend && has_it(*nic.backend); }) ||
           std::any_of(machine_.hubs.begin(), machine_.hubs.end(), [&](const HubConfig& hub) {
             return std::any_of(hub.taps.begin(), hub.taps.end(), has_it);
           });
  }

  const MachineConfig& machine_;
  std::vector<std::string>& words_;
  unsigned ports_ = 0;
};

std::string cpu_argument(const CpuConfig& cpu) {
  std::string text = "host";
  for (const std::string& name : cpu.enable) {
    text.append(",+").append(name);
  }
  for (const std::string& name : cpu.disable) {
    text.append(",-").append(name);
  }
  return text;
}

std::string serial_argument(const SerialConfig& serial) {
  switch (serial.kind) {
    case SerialConfig::Kind::kStdio:
      return "stdio";
    case SerialConfig::Kind::kFile:
      return "file:" + serial.path;
    case SerialConfig::Kind::kNull:
      return "null";
    case SerialConfig::Kind::kNone:
      return "none";
  }
  return {};
}

}  // namespace

std::vector<std::string> command_line_of(const MachineConfig& machine) {
  std::vector<std::string> words;
  const auto add = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
  if (!machine.name.empty()) {
    add({"-name", "guest=" + doubled_commas(machine.name)});
  }
  add({"-kernel", machine.kernel_path});
  if (!machine.initrds.empty()) {
    std::vector<std::string> texts;
    for (const std::string& text : machine.initrds) {
      texts.push_back(doubled_commas(text));
    }
    add({"-initrd", fmt::format("{}", fmt::join(texts, ","))});
  }
  if (!machine.command_line.empty()) {
    add({"-append", machine.command_line});
  }
  if (machine.memory_bytes % kMiB != 0) {
    add({"-m", fmt::format("{}K", machine.memory_bytes / 1024)});
  } else if (machine.memory_bytes != kDefaultMemoryBytes) {
    add({"-m", fmt::format("{}", machine.memory_bytes / kMiB)});
  }
  if (machine.cpus != 1) {
    add({"-smp", fmt::format("{}", machine.cpus)});
  }
  if (!machine.cpu.enable.empty() || !machine.cpu.disable.empty()) {
    add({"-cpu", cpu_argument(machine.cpu)});
  }
  if (machine.serial.kind != SerialConfig::Kind::kStdio) {
    add({"-serial", serial_argument(machine.serial)});
  }
  if (!machine.reboot) {
    add({"-no-reboot"});
  }
  const std::vector<std::string> end = end_words(machine.end);
  words.insert(words.end(), end.begin(), end.end());
  if (machine.log_network) {
    add({"-d", "net"});
  }
  for (const ExitDeviceConfig& device : machine.exit_devices) {
    add({"-device", exit_device_argument(device)});
  }
  NetworkPrinter(machine, words).print();
  return words;
}

std::string shell_text(std::span<const std::string> words) {
  static constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%";
  std::string text;
  for (const std::string& word : words) {
    const bool plain = !word.empty() && word.find_first_not_of(kPlain) == std::string::npos;
    text.append(text.empty() ? "" : " ").append(plain ? word : quoted(word));
  }
  return text;
}

}  // namespace tapir::vmm
