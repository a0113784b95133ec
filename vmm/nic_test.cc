// SPDX-License-Identifier: Apache-2.0
#include "vmm/nic.h"

#include <gmock/gmock.h>

#include <optional>
#include <utility>
#include <vector>

#include "vmm/bus.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class PciSlotsTest : public ::testing::Test {
 protected:
  void add(std::optional<unsigned> slot, NicModel model = NicModel::kVirtioNetPci) {
    HostNic nic;
    nic.config.option = "nic" + std::to_string(nics_.size());
    nic.config.model = model;
    if (slot) {
      nic.config.address = PciAddress{*slot, 0};
    }
    nics_.push_back(std::move(nic));
  }
  std::vector<unsigned> slots() const { return assign_pci_slots(nics_, host_).value(); }
  std::string refusal() const {
    const auto slots = assign_pci_slots(nics_, host_);
    return slots ? "no error" : slots.error().message();
  }

  std::vector<HostNic> nics_;
  Bus memory_;
  PciHost host_{memory_, nullptr};
};

TEST_F(PciSlotsTest, FirstFreeOnesBesideThoseThatWereChosen) {
  add(std::nullopt);
  add(2);
  add(std::nullopt, NicModel::kVirtioNetDevice);
  add(std::nullopt);
  add(31);
  add(1);
  EXPECT_THAT(slots(), ElementsAre(3, 2, 0, 4, 31, 1));
}

TEST_F(PciSlotsTest, ASlotForTwoIsAnErrorThatNamesBoth) {
  add(5);
  add(5);
  EXPECT_EQ(refusal(), "nic1: PCI slot 0x5 is that of nic0 already; choose another addr=, or leave it out");
}

TEST_F(PciSlotsTest, TheHostBridgesAndThoseBeyondTheLastAreErrors) {
  add(0);
  EXPECT_THAT(refusal(), StartsWith("nic0: PCI slot 0x0 is not for devices; addr= takes 0x1 to 0x1f"));
  nics_.clear();
  add(32);
  EXPECT_THAT(refusal(), StartsWith("nic0: PCI slot 0x20 is not for devices"));
}

TEST_F(PciSlotsTest, ThereIsRoomForThirtyOne) {
  for (unsigned i = 0; i < 31; ++i) {
    add(std::nullopt);
  }
  EXPECT_EQ(slots().back(), 31U);
  add(std::nullopt);
  EXPECT_THAT(refusal(), HasSubstr("nic31: PCI bus 0 has room for 31 devices and is full"));
}

}  // namespace
}  // namespace tapir::vmm
