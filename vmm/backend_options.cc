// SPDX-License-Identifier: Apache-2.0
#include "vmm/backend_options.h"

#include <fmt/format.h>

#include <array>
#include <climits>
#include <initializer_list>
#include <utility>

#include "net/base/parse.h"
#include "net/bridge_client.h"
#include "net/command_runner.h"
#include "net/interface_name.h"
#include "vmm/network_keys.h"

namespace tapir::vmm {
namespace {

/// Of `names`, those that were given: "ifname= and script=".
std::string given_of(const KeyValueList& keys, std::initializer_list<std::string_view> names) {
  std::vector<std::string> given;
  for (const std::string_view name : names) {
    if (keys.has(name)) {
      given.push_back(fmt::format("{}=", name));
    }
  }
  if (given.size() < 2) {
    return given.empty() ? std::string() : given.front();
  }
  const std::string last = std::move(given.back());
  given.pop_back();
  return fmt::format("{} and {}", fmt::join(given, ", "), last);
}

/// A rule of the kind "these keys are not valid with that one".
void forbid(const KeyValueList& keys, std::string_view with, std::initializer_list<std::string_view> names,
            std::string_view reason, Problems& problems) {
  if (const std::string given = given_of(keys, names); !given.empty()) {
    problems.add(fmt::format("{} cannot be given with {}=: {}; leave one of them out", given, with, reason));
  }
}

/// The one with which these have an effect must be there.
void demand(const KeyValueList& keys, std::initializer_list<std::string_view> names, std::string_view rule,
            Problems& problems) {
  if (const std::string given = given_of(keys, names); !given.empty()) {
    problems.add(fmt::format("{}{}", given, rule));
  }
}

/// The keys of a tap that a helper makes.
void read_bridge(const KeyValueList& keys, BackendOption& option, Problems& problems) {
  BridgeConfig bridge;
  if (const auto br = keys.find("br")) {
    bridge.bridge = *br;
  }
  if (const auto helper = keys.find("helper")) {
    bridge.helper = *helper;
    auto named = net::bridge_in_helper(*helper);
    if (!named) {
      problems.add(named.error().message());
    } else if (*named) {
      if (keys.has("br")) {
        option.warnings.push_back(fmt::format("br={} has no effect, since the helper's own --br={} counts",
                                              bridge.bridge, **named));
      }
      bridge.bridge = **std::move(named);
      problems.add_error_of(net::check_interface_name(bridge.bridge));
    }
  }
  if (const auto down = keys.find("down-helper")) {
    if (auto words = net::split_command(*down)) {
      bridge.down_command = *std::move(words);
    } else {
      problems.add(fmt::format("down-helper={}: {}", *down, words.error().message()));
    }
  }
  if (const auto queues = keys.find("queues")) {
    option.tap.queues = static_cast<unsigned>(number_value(*queues));
  }
  option.tap.bridge = std::move(bridge);
}

void read_data_path(const KeyValueList& keys, TapConfig& tap) {
  if (const auto engine = keys.find("io")) {
    tap.engine = net::parse_engine(*engine).value_or(net::EngineChoice::kAuto);  // a choice, checked already
  }
  if (const auto poll = keys.find("poll-us")) {
    tap.poll_microseconds = static_cast<std::uint32_t>(number_value(*poll));
  }
}

ScriptConfig read_script(const KeyValueList& keys, std::string_view key, std::string_view standard) {
  const auto value = keys.find(key);
  if (!value) {
    return {std::string(standard), false};
  }
  return {*value == "no" ? std::string() : std::string(*value), true};
}

/// A tap or macvtap that tapir opens itself.
void read_own_tap(const KeyValueList& keys, NetworkOption where, TapConfig& tap, Problems& problems) {
  tap.device = keys.find("dev").value_or(kTunDevice);
  tap.ifname = keys.find("ifname").value_or("");
  const bool macvtap = tap.device != kTunDevice;
  if (macvtap) {
    forbid(keys, "dev", {"ifname"}, "a macvtap's device has one interface only", problems);
  }
  tap.up_script = read_script(keys, "script", macvtap ? std::string_view() : default_up_script());
  tap.down_script = read_script(keys, "downscript", macvtap ? std::string_view() : default_down_script());
  tap.vnet_header = keys.flag("vnet_hdr");
  // Of -net another rule says what is wrong.
  if (const auto queues = keys.find("queues"); queues && where != NetworkOption::kNet) {
    tap.queues = static_cast<unsigned>(number_value(*queues));
  }
}

/// QEMU's rules of combination, in its order of precedence: fd, fds, helper, none of these.
void check_tap_rules(const KeyValueList& keys, NetworkOption option, Problems& problems) {
  static constexpr std::string_view kOpen = "that was settled when the descriptor was opened";
  if (option == NetworkOption::kNet && !keys.has("helper")) {
    demand(keys, {"queues", "fds"},
           " cannot be given with -net, whose hub has one queue; use -netdev or -nic", problems);
  }
  if (keys.has("fd")) {
    forbid(keys, "fd", {"ifname", "dev", "script", "downscript", "vnet_hdr", "helper", "queues", "fds"},
           kOpen, problems);
  } else if (keys.has("fds")) {
    forbid(keys, "fds", {"ifname", "dev", "script", "downscript", "vnet_hdr", "helper", "queues"}, kOpen,
           problems);
  } else if (keys.has("helper")) {
    forbid(keys, "helper", {"ifname", "dev", "script", "downscript", "vnet_hdr"},
           "the helper makes the tap, names it and sets it up", problems);
    return;
  }
  demand(keys, {"down-helper"},
         " undoes what a bridge helper did; it is possible with helper= and with type bridge only", problems);
}

/// The kernel says that a tap can be written to again while less than half of its buffer is in use, and a
/// byte always is (sock_writeable, sock_wfree).
constexpr std::uint64_t kLeastSendBuffer = 6;

void read_tap(const KeyValueList& keys, NetworkOption where, BackendOption& option, Problems& problems) {
  check_tap_rules(keys, where, problems);
  TapConfig& tap = option.tap;
  if (const auto sndbuf = keys.find("sndbuf")) {
    const std::uint64_t bytes = size_value(*sndbuf);
    if (bytes >= 1 && bytes < kLeastSendBuffer) {
      problems.add(fmt::format("sndbuf={}: in fewer than {} bytes the tap stops for good after a frame",
                               *sndbuf, kLeastSendBuffer));
    }
    tap.sndbuf = bytes == 0 || bytes > INT_MAX ? std::uint64_t{INT_MAX} : bytes;
  }
  read_data_path(keys, tap);
  const bool inherited = keys.has("fd") || keys.has("fds");
  if (keys.has("helper") && !inherited) {
    read_bridge(keys, option, problems);
    return;
  }
  if (const auto br = keys.find("br")) {
    option.warnings.push_back(fmt::format("br={} has no effect without helper=", *br));
  }
  if (!inherited) {
    read_own_tap(keys, where, tap, problems);
    return;
  }
  tap.fds = descriptors_value(keys.find(keys.has("fd") ? "fd" : "fds").value_or("0"));
  tap.queues = where == NetworkOption::kNet ? 1 : static_cast<unsigned>(tap.fds.size());
}

void read_hub_port(const KeyValueList& keys, NetworkOption where, BackendOption& option, Problems& problems) {
  HubPortConfig port;
  if (const auto id = keys.find("hubid")) {
    port.hub_id = static_cast<std::int32_t>(number_value(*id));
  } else if (!keys.has("hubid")) {
    problems.add("hubid= is missing; for example hubport,id=p0,hubid=1");
  }
  if (const auto netdev = keys.find("netdev")) {
    port.netdev = *netdev;
  }
  if (where == NetworkOption::kNet) {
    problems.add("-net is on hub 0 by itself and has no hubport; use -netdev hubport");
  }
  option.hub_port = std::move(port);
}

void unknown_backend(std::string_view type, NetworkOption option, Problems& problems) {
  static constexpr std::array<std::string_view, 3> kNames = {"tap", "bridge", "hubport"};
  if (type.empty()) {
    problems.add(
        option == NetworkOption::kNic
            ? "the backend is missing, and tapir has not the one of QEMU's default, user; for example "
              "-nic bridge,br=br0"
            : "the type of the backend is missing; for example bridge,br=br0");
  } else if (type == "nic" || type == "none") {
    problems.add(fmt::format("{0} is no backend; -net {0} is an option of its own", type));
  } else if (is_backend_of_qemu(type)) {
    problems.add(
        fmt::format("tapir has not QEMU's network backend '{}'; it has tap, bridge and hubport", type));
  } else if (const auto near = nearest(type, kNames)) {
    problems.add(fmt::format("tapir has no network backend '{}'; did you mean '{}'?", type, *near));
  } else {
    problems.add(fmt::format("tapir has no network backend '{}'; it has tap, bridge and hubport", type));
  }
}

}  // namespace

BackendOption parse_backend(std::span<const KeyItem> items, NetworkOption where,
                            std::span<const KeySpec> nic_keys, Problems& problems) {
  const std::string_view type = last_value(items, "type");
  const KeyGroup* const group = find_backend_keys(type);
  BackendOption option;
  option.id = last_value(items, "id");  // even of what is refused, for those that name it
  if (group == nullptr) {
    unknown_backend(type, where, problems);
    return option;
  }
  std::vector<KeySpec> known(group->keys.begin(), group->keys.end());
  known.insert(known.end(), nic_keys.begin(), nic_keys.end());
  const KeyValueList keys = KeyValueList::check(items, known, problems);
  option.tap.id = option.id;
  if (where == NetworkOption::kNetdev && !keys.has("id")) {
    problems.add(fmt::format("id= is missing; for example {},id=n0", type));
  }
  if (type == "bridge") {
    read_data_path(keys, option.tap);
    read_bridge(keys, option, problems);
  } else if (type == "tap") {
    read_tap(keys, where, option, problems);
  } else {
    read_hub_port(keys, where, option, problems);
  }
  return option;
}

}  // namespace tapir::vmm
