// SPDX-License-Identifier: Apache-2.0
#include "vmm/nic_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "net/base/parse.h"

namespace tapir::vmm {
namespace {

using Kind = KeySpec::Kind;

constexpr std::array<KeySpec, 4> kDeviceKeys = {
    {{"driver", Kind::kValue}, {"netdev", Kind::kValue}, {"mac", Kind::kValue}, {"id", Kind::kValue}}};
constexpr std::array<KeySpec, 5> kNetNicKeys = {{{"type", Kind::kValue},
                                                 {"netdev", Kind::kValue},
                                                 {"model", Kind::kValue},
                                                 {"macaddr", Kind::kValue},
                                                 {"id", Kind::kValue}}};
constexpr std::array<KeySpec, 2> kNicKeys = {{{"model", Kind::kValue}, {"mac", Kind::kValue}}};

struct ModelName {
  std::string_view name;
  NicModel model;
};
constexpr std::array<ModelName, 5> kModels = {{{"virtio-net-pci", NicModel::kVirtioNetPci},
                                               {"virtio-net-device", NicModel::kVirtioNetDevice},
                                               {"virtio-net", NicModel::kVirtioNetPci},
                                               {"virtio-net-pci-non-transitional", NicModel::kVirtioNetPci},
                                               {"virtio", NicModel::kVirtioNetPci}}};
constexpr std::size_t kDeviceModels = 4;  ///< "virtio" is a model of -net nic, not a driver of -device

std::optional<NicModel> find_model(std::string_view name, std::size_t models) {
  for (std::size_t i = 0; i < models; ++i) {
    if (kModels[i].name == name) {
      return kModels[i].model;
    }
  }
  return std::nullopt;
}

tl::unexpected<Error> unknown_device(std::string_view driver) {
  std::array<std::string_view, kDeviceModels> names;
  std::transform(kModels.begin(), kModels.begin() + kDeviceModels, names.begin(),
                 [](const ModelName& model) { return model.name; });
  if (const auto near = nearest(driver, names)) {
    return fail(fmt::format("tapir has no device '{}'; did you mean '{}'?", driver, *near));
  }
  return fail(fmt::format("tapir has no device '{}'; it has virtio-net-pci and virtio-net-device", driver));
}

/// The key `model` of -net nic and -nic.
Result<NicModel> parse_model(const KeyValueList& keys) {
  const std::string_view name = keys.find("model").value_or("virtio");
  const auto model = find_model(name, kModels.size());
  if (!model) {
    return fail(fmt::format("tapir has no NIC model '{}'; use model=virtio", name));
  }
  return *model;
}

Result<std::optional<net::MacAddress>> parse_mac(const KeyValueList& keys, std::string_view key) {
  const auto text = keys.find(key);
  if (!text) {
    return std::optional<net::MacAddress>();
  }
  const auto mac = net::MacAddress::parse(*text);
  if (!mac) {
    return fail(fmt::format(
        "{}={} is not an Ethernet address; it has six hexadecimal bytes, for example 52:54:00:12:34:56", key,
        *text));
  }
  if (mac->is_multicast()) {
    return fail(
        fmt::format("{}={} is a multicast address (odd first byte), which a NIC cannot have; for example "
                    "52:54:00:12:34:56 is one",
                    key, *text));
  }
  if (mac->is_zero()) {
    return std::optional<net::MacAddress>();  // QEMU: the same as not given
  }
  return mac;
}

Status parse_id(const KeyValueList& keys, NicConfig& nic) {
  if (const auto id = keys.find("id")) {
    TAPIR_TRY(check_identifier(*id));
    nic.id = *id;
  }
  return {};
}

}  // namespace

Result<NicOption> parse_device(std::string_view argument) {
  const std::string_view driver = leading_value(argument, "driver");
  const auto model = find_model(driver, kDeviceModels);
  if (!model) {
    return unknown_device(driver);
  }
  TAPIR_TRY_ASSIGN(const KeyValueList keys, KeyValueList::parse(argument, kDeviceKeys, "driver"));
  NicOption option;
  option.nic.model = *model;
  TAPIR_TRY(parse_id(keys, option.nic));
  const auto netdev = keys.find("netdev");
  if (!netdev) {
    return fail(
        "netdev= is missing; for example -netdev bridge,id=n0,br=br0 -device virtio-net-pci,netdev=n0");
  }
  option.netdev = *netdev;
  TAPIR_TRY_ASSIGN(option.nic.mac, parse_mac(keys, "mac"));
  return option;
}

Result<NicOption> parse_net_nic(std::string_view argument) {
  TAPIR_TRY_ASSIGN(const KeyValueList keys, KeyValueList::parse(argument, kNetNicKeys, "type"));
  NicOption option;
  TAPIR_TRY_ASSIGN(option.nic.model, parse_model(keys));
  TAPIR_TRY(parse_id(keys, option.nic));
  if (const auto netdev = keys.find("netdev")) {
    option.netdev = *netdev;
  }
  TAPIR_TRY_ASSIGN(option.nic.mac, parse_mac(keys, "macaddr"));
  return option;
}

std::span<const KeySpec> nic_keys() {
  return kNicKeys;
}

Result<NicConfig> parse_nic(const KeyValueList& keys) {
  NicConfig nic;
  TAPIR_TRY_ASSIGN(nic.model, parse_model(keys));
  TAPIR_TRY_ASSIGN(nic.mac, parse_mac(keys, "mac"));
  return nic;
}

}  // namespace tapir::vmm
