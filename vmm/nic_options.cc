// SPDX-License-Identifier: Apache-2.0
#include "vmm/nic_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "net/base/parse.h"
#include "vmm/network_keys.h"

namespace tapir::vmm {
namespace {

struct ModelName {
  std::string_view name;
  NicModel model;
  std::string_view help;
};
constexpr std::array<ModelName, 5> kModels = {
    {{"virtio-net-pci", NicModel::kVirtioNetPci, "on the PCI bus"},
     {"virtio-net-device", NicModel::kVirtioNetDevice, "on virtio-mmio"},
     {"virtio-net", NicModel::kVirtioNetPci, "the same as virtio-net-pci"},
     {"virtio-net-pci-non-transitional", NicModel::kVirtioNetPci, "the same as virtio-net-pci"},
     {"virtio", NicModel::kVirtioNetPci, "the same as virtio-net-pci"}}};
constexpr std::size_t kDeviceModels = 4;  ///< "virtio" is a model of -net nic, not a driver of -device

/// The most MSI-X vectors that a function can have (PCI Local Bus 3.0, 6.8.2.3 Message Control for MSI-X).
constexpr std::int64_t kMaxVectors = 2048;
constexpr std::int64_t kVectorsNotGiven = 0xFFFF'FFFF;  ///< QEMU's word for it
constexpr std::int64_t kMaxMtu = 65521;                 ///< a tap's
constexpr std::int64_t kMinMtu = 68;                    ///< virtio 1.3, 5.1.4.1 Device Requirements

const ModelName* find_model(std::string_view name, std::size_t models) {
  const auto* const end = kModels.begin() + models;
  const auto* const found =
      std::find_if(kModels.begin(), end, [&](const ModelName& model) { return model.name == name; });
  return found == end ? nullptr : found;
}

std::string unknown_device(std::string_view driver) {
  if (driver.empty()) {
    return "the device is missing; for example virtio-net-pci,netdev=n0";
  }
  std::array<std::string_view, kDeviceModels + 2> names{"isa-debug-exit", "tapir-exit"};
  std::transform(kModels.begin(), kModels.begin() + kDeviceModels, names.begin() + 2,
                 [](const ModelName& model) { return model.name; });
  if (const auto near = nearest(driver, names)) {
    return fmt::format("tapir has no device '{}'; did you mean '{}'?", driver, *near);
  }
  return fmt::format("tapir has no device '{}'; -device help lists those that it has", driver);
}

/// The key `model` of -net nic and -nic.
NicModel read_model(const KeyValueList& keys, Problems& problems) {
  const std::string_view name = keys.find("model").value_or("virtio");
  const ModelName* const model = find_model(name, kModels.size());
  if (model == nullptr) {
    problems.add(fmt::format("model={}: tapir has no such NIC; use model=virtio", name));
    return NicModel::kVirtioNetPci;
  }
  return model->model;
}

void read_vectors(const KeyValueList& keys, NicConfig& nic, Problems& problems) {
  const auto text = keys.find("vectors");
  if (!text || number_value(*text) == kVectorsNotGiven) {
    return;
  }
  const std::int64_t vectors = number_value(*text);
  if (vectors > kMaxVectors) {
    problems.add(
        fmt::format("vectors={}: {} is the most that PCI has; leave vectors= out", *text, kMaxVectors));
  }
  nic.vectors = static_cast<std::uint32_t>(vectors);
}

void read_place(const KeyValueList& keys, NicConfig& nic, Problems& problems) {
  if (const auto address = keys.find("addr")) {
    nic.address = pci_address_value(*address);
  }
  read_vectors(keys, nic, problems);
}

void read_link(const KeyValueList& keys, NicConfig& nic, Problems& problems) {
  if (const auto mtu = keys.find("host_mtu")) {
    const std::int64_t value = number_value(*mtu);
    if (value != 0 && (value < kMinMtu || value > kMaxMtu)) {
      problems.add(
          fmt::format("host_mtu={}: an MTU is {} to {}; for example host_mtu=1400", *mtu, kMinMtu, kMaxMtu));
    }
    nic.host_mtu = static_cast<std::uint16_t>(value);
  }
  if (const auto speed = keys.find("speed"); speed && number_value(*speed) >= 0) {
    nic.speed = static_cast<std::uint32_t>(number_value(*speed));
  }
  if (const auto duplex = keys.find("duplex")) {
    nic.duplex = *duplex == "half" ? NicConfig::Duplex::kHalf : NicConfig::Duplex::kFull;
  }
}

void read_properties(const KeyValueList& keys, NicConfig& nic, Problems& problems) {
  for (const KeySpec& key : device_keys(true)) {
    const std::optional<bool> wanted = key.feature != 0 ? keys.flag(key.name) : std::nullopt;
    if (wanted) {
      nic.features_off = *wanted ? nic.features_off & ~key.feature : nic.features_off | key.feature;
    }
  }
  nic.multi_queue = keys.flag("mq").value_or(false);
  if (const auto size = keys.find("rx_queue_size")) {
    nic.rx_queue_size = static_cast<std::uint16_t>(number_value(*size));
  }
  if (const auto size = keys.find("tx_queue_size")) {
    nic.tx_queue_size = static_cast<std::uint16_t>(number_value(*size));
  }
  if (const auto index = keys.find("bootindex"); index && number_value(*index) >= 0) {
    nic.bootindex = static_cast<std::int32_t>(number_value(*index));
  }
  read_link(keys, nic, problems);
  read_place(keys, nic, problems);
}

std::optional<net::MacAddress> read_mac(const KeyValueList& keys, std::string_view key) {
  const auto text = keys.find(key);
  return text ? mac_value(*text) : std::nullopt;
}

/// Keys of PCI on a device that is not there.
void forbid_pci_keys(const KeyValueList& keys, Problems& problems) {
  for (const std::string_view key : {"addr", "vectors"}) {
    if (keys.has(key)) {
      problems.add(
          fmt::format("{0}= is of PCI, and virtio-net-device is not on it; leave {0}= out, or use "
                      "model=virtio",
                      key));
    }
  }
}

std::string list_models(std::size_t models) {
  std::string text;
  for (const ModelName& model : std::span(kModels).first(models)) {
    text.append(fmt::format("{:<34}{}\n", model.name, model.help));
  }
  return text;
}

}  // namespace

NicOption parse_device(std::span<const KeyItem> items, Problems& problems) {
  const std::string_view driver = last_value(items, "driver");
  const ModelName* const model = find_model(driver, kDeviceModels);
  NicOption option;
  if (model == nullptr) {
    problems.add(unknown_device(driver));
    return option;
  }
  const bool pci = model->model == NicModel::kVirtioNetPci;
  const KeyValueList keys = KeyValueList::check(items, device_keys(pci), problems);
  option.nic.model = model->model;
  option.nic.id = keys.find("id").value_or("");
  if (const auto netdev = keys.find("netdev")) {
    option.netdev = *netdev;
  }
  option.nic.mac = read_mac(keys, "mac");
  read_properties(keys, option.nic, problems);
  return option;
}

NicOption parse_net_nic(std::span<const KeyItem> items, Problems& problems) {
  const KeyValueList keys = KeyValueList::check(items, net_nic_keys(), problems);
  NicOption option;
  option.nic.model = read_model(keys, problems);
  option.nic.id = keys.find("id").value_or("");
  if (const auto netdev = keys.find("netdev")) {
    option.netdev = *netdev;
  }
  option.nic.mac = read_mac(keys, "macaddr");
  if (option.nic.model == NicModel::kVirtioNetPci) {
    read_place(keys, option.nic, problems);
  } else {
    forbid_pci_keys(keys, problems);
  }
  return option;
}

NicConfig parse_nic(std::span<const KeyItem> items, Problems& problems) {
  std::vector<KeyItem> own;
  std::copy_if(items.begin(), items.end(), std::back_inserter(own), [](const KeyItem& item) {
    return std::any_of(nic_keys().begin(), nic_keys().end(),
                       [&](const KeySpec& key) { return key.name == item.key; });
  });
  Problems told_with_the_backend;
  const KeyValueList keys = KeyValueList::check(own, nic_keys(), told_with_the_backend);
  NicConfig nic;
  nic.model = read_model(keys, problems);
  nic.mac = read_mac(keys, "mac");
  return nic;
}

std::string device_list() {
  return list_models(kDeviceModels);
}

std::string model_list() {
  return list_models(kModels.size());
}

bool is_device(std::string_view driver) {
  return find_model(driver, kDeviceModels) != nullptr;
}

bool is_pci_device(std::string_view driver) {
  const ModelName* const model = find_model(driver, kDeviceModels);
  return model != nullptr && model->model == NicModel::kVirtioNetPci;
}

}  // namespace tapir::vmm
