// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci_host.h"

#include <fmt/format.h>
#include <linux/pci_regs.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "virtio/register_access.h"
#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

constexpr virtio::PciIdentity kHostBridge = {
    .vendor = 0x1B36, .device = 0x0008, .revision = 0, .class_code = 0x06'0000};

constexpr std::uint64_t kPortBytes = 8;
constexpr std::uint64_t kDataOffset = platform::kPciDataPort - platform::kPciAddressPort;
constexpr std::uint64_t kResetOffset = platform::kResetPort - platform::kPciAddressPort;
constexpr std::size_t kAddressBytes = 4;

// The address register: enable, bus, device, function, doubleword; the rest reads 0.
constexpr std::uint32_t kAddressEnable = 0x8000'0000;
constexpr std::uint32_t kAddressBits = 0x80FF'FFFC;
constexpr std::uint32_t kAddressBusAndFunction = 0x00FF'0700;  // both 0 for what exists
constexpr std::uint32_t kAddressSlotShift = 11;
constexpr std::uint32_t kAddressRegister = 0xFC;

void fill_with_ones(std::span<std::byte> bytes) {
  std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});
}

bool is_reset_register(std::uint64_t offset, std::size_t bytes) {
  return offset == kResetOffset && bytes == 1;
}

}  // namespace

/// A function and its BARs' way to the memory bus.
class PciHost::Slot final : public virtio::BarMapper {
 public:
  Slot(Bus& memory, virtio::PciFunction& in_slot) : function(in_slot), memory_(memory) {
    for (unsigned bar = 0; bar < windows_.size(); ++bar) {
      windows_[bar].function = &in_slot;
      windows_[bar].bar = bar;
    }
    in_slot.attach_mapper(this);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  ~Slot() override {
    function.attach_mapper(nullptr);
    for (unsigned bar = 0; bar < windows_.size(); ++bar) {
      unmap_bar(bar);
    }
  }

  Status map_bar(unsigned bar, virtio::GuestAddress start, std::uint64_t bytes) override {
    TAPIR_TRY(memory_.add(to_integer(start), bytes, windows_[bar]));
    windows_[bar].start = to_integer(start);
    return {};
  }
  void unmap_bar(unsigned bar) override {
    if (const auto start = std::exchange(windows_[bar].start, std::nullopt)) {
      memory_.remove(*start);
    }
  }

  virtio::PciFunction& function;

 private:
  struct Window final : BusHandler {
    void read(std::uint64_t offset, std::span<std::byte> into) override {
      function->read_bar(bar, offset, into);
    }
    void write(std::uint64_t offset, std::span<const std::byte> from) override {
      function->write_bar(bar, offset, from);
    }
    virtio::PciFunction* function = nullptr;
    unsigned bar = 0;
    std::optional<std::uint64_t> start;  ///< on the bus there
  };

  Bus& memory_;
  std::array<Window, virtio::PciFunction::kBars> windows_;
};

PciHost::PciHost(Bus& memory, BusHandler* reset_register)
    : memory_(memory), reset_register_(reset_register), host_bridge_(kHostBridge) {
  slots_[0] = std::make_unique<Slot>(memory_, host_bridge_);
}

PciHost::~PciHost() {
  if (ports_ != nullptr) {
    ports_->remove(platform::kPciAddressPort);
    memory_.remove(platform::kEcamBase);
  }
}

Status PciHost::add(unsigned slot, virtio::PciFunction& function) {
  if (slot >= kSlots) {
    return fail(fmt::format("PCI slot {:#x} does not exist, the last is {:#x}", slot, kSlots - 1));
  }
  if (slots_[slot]) {
    return fail(fmt::format("PCI slot {:#x} is taken", slot));
  }
  slots_[slot] = std::make_unique<Slot>(memory_, function);
  return {};
}

Status PciHost::attach(Bus& ports) {
  TAPIR_TRY(memory_.add(platform::kEcamBase, platform::kEcamBytes, ecam_handler_));
  if (Status added = ports.add(platform::kPciAddressPort, kPortBytes, ports_handler_); !added) {
    memory_.remove(platform::kEcamBase);
    return added;
  }
  ports_ = &ports;
  return {};
}

Status PciHost::assign_resources() {
  std::uint64_t next = platform::kPciWindowBase;
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    if (!slots_[slot]) {
      continue;
    }
    virtio::PciFunction& function = slots_[slot]->function;
    for (unsigned bar = 0; bar < virtio::PciFunction::kBars; ++bar) {
      const std::uint64_t bytes = function.bar_bytes(bar);
      if (bytes == 0) {
        continue;
      }
      const std::uint64_t start = (next + bytes - 1) / bytes * bytes;
      next = start + bytes;
      if (next > platform::kPciWindowBase + platform::kPciWindowBytes) {
        return fail(fmt::format("the PCI window of {:#x} bytes has no room for BAR {} of slot {:#x}",
                                platform::kPciWindowBytes, bar, slot));
      }
      std::array<std::byte, 4> value{};
      virtio::store_little_endian(start, value);
      function.config_write(PCI_BASE_ADDRESS_0 + std::uint64_t{bar} * 4, value);
    }
    if (function.interrupt_pin() != 0) {
      const std::array<std::byte, 1> line = {
          static_cast<std::byte>(platform::pci_intx_gsi(slot, function.interrupt_pin()))};
      function.config_write(PCI_INTERRUPT_LINE, line);
    }
  }
  return {};
}

void PciHost::reset() {
  address_.store(0);
  for (const auto& slot : slots_) {
    if (slot) {
      slot->function.reset();
    }
  }
}

void PciHost::read_port(std::uint64_t offset, std::span<std::byte> into) {
  fill_with_ones(into);
  if (offset == 0 && into.size() == kAddressBytes) {
    virtio::store_little_endian(address_.load(), into);
  } else if (is_reset_register(offset, into.size()) && reset_register_ != nullptr) {
    reset_register_->read(0, into);
  } else if (offset >= kDataOffset) {
    const std::uint32_t address = address_.load();
    if (virtio::PciFunction* function = addressed_function(address); function != nullptr) {
      function->config_read((address & kAddressRegister) + (offset - kDataOffset), into);
    }
  }
}

void PciHost::write_port(std::uint64_t offset, std::span<const std::byte> from) {
  if (offset == 0 && from.size() == kAddressBytes) {
    address_.store(static_cast<std::uint32_t>(virtio::load_little_endian(from)) & kAddressBits);
  } else if (is_reset_register(offset, from.size()) && reset_register_ != nullptr) {
    reset_register_->write(0, from);
  } else if (offset >= kDataOffset) {
    const std::uint32_t address = address_.load();
    if (virtio::PciFunction* function = addressed_function(address); function != nullptr) {
      function->config_write((address & kAddressRegister) + (offset - kDataOffset), from);
    }
  }
}

void PciHost::read_ecam(std::uint64_t offset, std::span<std::byte> into) {
  fill_with_ones(into);
  if (virtio::PciFunction* function = ecam_function(offset, into.size()); function != nullptr) {
    function->config_read(offset % virtio::PciFunction::kConfigBytes, into);
  }
}

void PciHost::write_ecam(std::uint64_t offset, std::span<const std::byte> from) {
  if (virtio::PciFunction* function = ecam_function(offset, from.size()); function != nullptr) {
    function->config_write(offset % virtio::PciFunction::kConfigBytes, from);
  }
}

virtio::PciFunction* PciHost::addressed_function(std::uint32_t address) const {
  if ((address & kAddressEnable) == 0 || (address & kAddressBusAndFunction) != 0) {
    return nullptr;
  }
  const auto& slot = slots_[(address >> kAddressSlotShift) % kSlots];
  return slot ? &slot->function : nullptr;
}

virtio::PciFunction* PciHost::ecam_function(std::uint64_t offset, std::size_t bytes) const {
  // Bits of an ECAM offset: 11-0 register, 14-12 function, 19-15 slot, then bus (PCI Express 3.0, table 7-1).
  // An access is aligned to its width and at most 4 bytes.
  constexpr std::uint64_t kFunctionShift = 12;
  constexpr std::uint64_t kFunctions = 8;
  const bool valid = (bytes == 1 || bytes == 2 || bytes == 4) && offset % bytes == 0;
  const std::uint64_t number = offset >> kFunctionShift;
  if (!valid || number % kFunctions != 0 || number / kFunctions >= kSlots) {
    return nullptr;
  }
  const auto& slot = slots_[number / kFunctions];
  return slot ? &slot->function : nullptr;
}

}  // namespace tapir::vmm
