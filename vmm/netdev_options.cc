// SPDX-License-Identifier: Apache-2.0
#include "vmm/netdev_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vmm/json_items.h"
#include "vmm/network_keys.h"

namespace tapir::vmm {
namespace {

using Kind = NetworkItem::Kind;

/// Whether it is `none`, with nothing else.
bool is_none(std::span<const KeyItem> items, Problems& problems) {
  if (last_value(items, "type") != "none") {
    return false;
  }
  if (items.size() > 1) {
    problems.add("none stands alone; leave the other keys out");
  }
  return true;
}

}  // namespace

void NetworkOptions::add_netdev(std::string_view argument, Problems& problems) {
  const auto items = read_items(argument, "type", problems);
  if (!items) {
    return;
  }
  BackendOption backend = parse_backend(*items, NetworkOption::kNetdev, {}, problems);
  items_.push_back({is_json_argument(argument) ? Kind::kJsonNetdev : Kind::kNetdev,
                    fmt::format("-netdev {}", argument), std::move(backend), std::nullopt});
}

void NetworkOptions::add_device(std::string_view argument, std::span<const KeyItem> items,
                                Problems& problems) {
  items_.push_back(
      {Kind::kDevice, fmt::format("-device {}", argument), std::nullopt, parse_device(items, problems)});
}

void NetworkOptions::add_net(std::string_view argument, Problems& problems) {
  const std::vector<KeyItem> items = split_items(argument, "type");
  if (is_none(items, problems)) {
    return;
  }
  NetworkItem item{Kind::kNet, fmt::format("-net {}", argument), std::nullopt, std::nullopt};
  if (last_value(items, "type") == "nic") {
    item.nic = parse_net_nic(items, problems);
  } else {
    item.backend = parse_backend(items, NetworkOption::kNet, {}, problems);
  }
  items_.push_back(std::move(item));
}

void NetworkOptions::add_nic(std::string_view argument, Problems& problems) {
  const std::vector<KeyItem> items = split_items(argument, "type");
  if (is_none(items, problems)) {
    return;
  }
  NetworkItem item{Kind::kNic, fmt::format("-nic {}", argument), std::nullopt, std::nullopt};
  item.backend = parse_backend(items, NetworkOption::kNic, nic_keys(), problems);
  item.nic = NicOption{parse_nic(items, problems), std::nullopt};
  items_.push_back(std::move(item));
}

std::vector<NetworkItem> NetworkOptions::in_order() const {
  std::vector<NetworkItem> ordered = items_;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const NetworkItem& one, const NetworkItem& other) { return one.kind < other.kind; });
  return ordered;
}

}  // namespace tapir::vmm
