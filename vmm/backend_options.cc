// SPDX-License-Identifier: Apache-2.0
#include "vmm/backend_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "net/base/parse.h"
#include "net/bridge_client.h"
#include "net/command_runner.h"
#include "net/interface_name.h"

namespace tapir::vmm {
namespace {

using Kind = KeySpec::Kind;

constexpr std::array<KeySpec, 11> kTapKeys = {{{"type", Kind::kValue},
                                               {"id", Kind::kValue},
                                               {"ifname", Kind::kValue},
                                               {"fd", Kind::kValue},
                                               {"vnet_hdr", Kind::kFlag},
                                               {"script", Kind::kValue},
                                               {"downscript", Kind::kValue},
                                               {"br", Kind::kValue},
                                               {"helper", Kind::kValue},
                                               {"queues", Kind::kValue},
                                               {"down-helper", Kind::kValue}}};
constexpr std::array<KeySpec, 6> kBridgeKeys = {{{"type", Kind::kValue},
                                                 {"id", Kind::kValue},
                                                 {"br", Kind::kValue},
                                                 {"helper", Kind::kValue},
                                                 {"queues", Kind::kValue},
                                                 {"down-helper", Kind::kValue}}};

bool has_any(const KeyValueList& keys, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return keys.has(name); });
}

Status check_scripts(const KeyValueList& keys) {
  for (const std::string_view key : {"script", "downscript"}) {
    const auto value = keys.find(key);
    if (!value || (*value != "no" && !value->empty())) {
      return fail(fmt::format(
          "{} scripts are not supported yet; set the interface up beforehand and add script=no,downscript=no",
          key == "script" ? "interface" : "interface shutdown"));
    }
  }
  return {};
}

Result<unsigned> parse_queues(const KeyValueList& keys) {
  const std::string_view text = keys.find("queues").value_or("1");
  const auto queues = parse_unsigned(text, kMaxQueues);
  if (!queues || *queues == 0) {
    return fail(
        fmt::format("queues={}: a tap has 1 to {} queues here; for example queues=2", text, kMaxQueues));
  }
  return static_cast<unsigned>(*queues);
}

/// The keys of a tap that a helper makes.
Status parse_bridge(const KeyValueList& keys, BackendOption& option) {
  BridgeConfig bridge;
  if (const auto br = keys.find("br")) {
    bridge.bridge = *br;
  }
  if (const auto helper = keys.find("helper")) {
    if (helper->empty()) {
      return fail(
          "helper= is empty; give a path or a command, for example helper=/usr/lib/qemu/qemu-bridge-helper");
    }
    bridge.helper = *helper;
    TAPIR_TRY_ASSIGN(auto named, net::bridge_in_helper(*helper));
    if (named) {
      if (keys.has("br")) {
        option.warning =
            fmt::format("br={} has no effect, since the helper's own --br={} counts", bridge.bridge, *named);
      }
      bridge.bridge = *std::move(named);
    }
  }
  TAPIR_TRY(net::check_interface_name(bridge.bridge));
  TAPIR_TRY_ASSIGN(option.tap.queues, parse_queues(keys));
  if (const auto down = keys.find("down-helper")) {
    auto words = net::split_command(*down);
    if (!words) {
      return tl::unexpected(std::move(words).error().with_context("down-helper="));
    }
    bridge.down_command = *std::move(words);
  }
  option.tap.bridge = std::move(bridge);
  return {};
}

/// A tap by descriptor or by name, which a helper has nothing to do with.
Status parse_plain_tap(const KeyValueList& keys, BackendOption& option) {
  if (keys.has("down-helper")) {
    return fail(
        "down-helper= undoes what a bridge helper did; it is possible with helper= and with type bridge "
        "only");
  }
  if (const auto br = keys.find("br")) {
    option.warning = fmt::format("br={} has no effect without helper=", *br);
  }
  TapConfig& tap = option.tap;
  if (const auto fd = keys.find("fd")) {
    const auto number = parse_unsigned(*fd, INT_MAX);
    if (!number) {
      return fail(
          fmt::format("fd={}: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5", *fd));
    }
    tap.fds = {static_cast<int>(*number)};
    return {};
  }
  TAPIR_TRY(net::check_interface_name(*keys.find("ifname")));
  tap.ifname = *keys.find("ifname");
  TAPIR_TRY_ASSIGN(tap.vnet_header, keys.find_flag("vnet_hdr"));
  TAPIR_TRY_ASSIGN(const unsigned queues, parse_queues(keys));
  if (queues > 1) {
    return fail(
        fmt::format("queues={}: only a bridge helper makes a tap with more than one queue as yet; "
                    "leave queues= out, or use -netdev bridge",
                    queues));
  }
  return check_scripts(keys);
}

/// QEMU's rules of combination for one tap, as far as the keys exist here.
Status parse_tap(const KeyValueList& keys, BackendOption& option) {
  if (keys.has("fd")) {
    if (has_any(keys, {"ifname", "script", "downscript", "vnet_hdr", "helper", "queues"})) {
      return fail(
          "ifname=, script=, downscript=, vnet_hdr=, helper= and queues= cannot be given with fd=: they were "
          "settled when the descriptor was opened");
    }
    return parse_plain_tap(keys, option);
  }
  if (keys.has("helper")) {
    if (has_any(keys, {"ifname", "script", "downscript", "vnet_hdr"})) {
      return fail(
          "ifname=, script=, downscript= and vnet_hdr= cannot be given with helper=: the helper makes the "
          "tap, names it and sets it up");
    }
    return parse_bridge(keys, option);
  }
  if (!keys.has("ifname")) {
    return fail(
        "ifname=, fd= or helper= is missing; for example ifname=tap0,script=no,downscript=no, or type bridge "
        "for a tap that the bridge helper makes");
  }
  return parse_plain_tap(keys, option);
}

tl::unexpected<Error> unknown_backend(std::string_view type) {
  static constexpr std::array<std::string_view, 2> kNames = {"tap", "bridge"};
  if (type.empty()) {
    return fail("the type of the backend is missing; for example bridge,br=br0");
  }
  if (const auto near = nearest(type, kNames)) {
    return fail(fmt::format("tapir has no network backend '{}'; did you mean '{}'?", type, *near));
  }
  return fail(fmt::format("tapir has no network backend '{}'; it has tap and bridge", type));
}

}  // namespace

Result<BackendOption> parse_backend(std::string_view argument, std::span<const KeySpec> nic_keys) {
  const std::string_view type = leading_value(argument, "type");
  if (type != "tap" && type != "bridge") {
    return unknown_backend(type);
  }
  const bool is_bridge = type == "bridge";
  const std::span<const KeySpec> own = is_bridge ? std::span<const KeySpec>(kBridgeKeys) : kTapKeys;
  std::vector<KeySpec> known(own.begin(), own.end());
  known.insert(known.end(), nic_keys.begin(), nic_keys.end());

  BackendOption option;
  TAPIR_TRY_ASSIGN(option.keys, KeyValueList::parse(argument, known, "type"));
  if (const auto id = option.keys.find("id")) {
    TAPIR_TRY(check_identifier(*id));
    option.tap.id = *id;
  }
  TAPIR_TRY(is_bridge ? parse_bridge(option.keys, option) : parse_tap(option.keys, option));
  return option;
}

}  // namespace tapir::vmm
