// SPDX-License-Identifier: Apache-2.0
#include "vmm/irq_routing.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

using Table = std::vector<kvm_irq_routing_entry>;

/// The pins of `chip` that a GSI goes to.
std::vector<unsigned> pins(const Table& table, unsigned gsi, unsigned chip) {
  std::vector<unsigned> found;
  for (const auto& entry : table) {
    if (entry.gsi == gsi && entry.type == KVM_IRQ_ROUTING_IRQCHIP && entry.u.irqchip.irqchip == chip) {
      found.push_back(entry.u.irqchip.pin);
    }
  }
  return found;
}

std::vector<const kvm_irq_routing_entry*> msis(const Table& table) {
  std::vector<const kvm_irq_routing_entry*> found;
  for (const auto& entry : table) {
    if (entry.type == KVM_IRQ_ROUTING_MSI) {
      found.push_back(&entry);
    }
  }
  return found;
}

TEST(IrqchipRoutes, SendEveryGsiToItsPins) {
  const Table table = irqchip_routes();
  using Pins = std::vector<unsigned>;
  EXPECT_EQ(pins(table, 4, KVM_IRQCHIP_IOAPIC), Pins{4});
  EXPECT_EQ(pins(table, 4, KVM_IRQCHIP_PIC_MASTER), Pins{4});
  EXPECT_EQ(pins(table, 9, KVM_IRQCHIP_IOAPIC), Pins{9});
  EXPECT_EQ(pins(table, 9, KVM_IRQCHIP_PIC_SLAVE), Pins{1});
  EXPECT_EQ(pins(table, 23, KVM_IRQCHIP_IOAPIC), Pins{23});
  EXPECT_EQ(pins(table, 16, KVM_IRQCHIP_PIC_MASTER), Pins{});
}

TEST(IrqchipRoutes, MoveThePitToPinTwoAsTheMadtSays) {
  const Table table = irqchip_routes();
  using Pins = std::vector<unsigned>;
  EXPECT_EQ(pins(table, 0, KVM_IRQCHIP_IOAPIC), Pins{2});
  EXPECT_EQ(pins(table, 0, KVM_IRQCHIP_PIC_MASTER), Pins{0});
  EXPECT_TRUE(std::none_of(table.begin(), table.end(), [](const auto& entry) { return entry.gsi == 2; }));
}

class IrqRoutingTest : public ::testing::Test {
 protected:
  Status commit(std::span<const kvm_irq_routing_entry> entries) {
    if (refuse_) {
      return fail("no", ENOMEM);
    }
    ++commits_;
    table_.assign(entries.begin(), entries.end());
    return {};
  }

  Table table_;
  int commits_ = 0;
  bool refuse_ = false;
  IrqRouting routing_{[this](auto entries) { return commit(entries); }, irqchip_routes().size() + 3};
};

TEST_F(IrqRoutingTest, CarriesTheIrqchipsRoutesWithEveryMessage) {
  const unsigned gsi = *routing_.allocate_msi();
  EXPECT_EQ(gsi, platform::kFirstMsiGsi);
  EXPECT_EQ(commits_, 0);
  ASSERT_TRUE(routing_.set_message(gsi, {0x1'FEE0'1000, 0x41}).has_value());
  EXPECT_EQ(table_.size(), irqchip_routes().size() + 1);
  const auto found = msis(table_);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]->gsi, gsi);
  EXPECT_EQ(found[0]->u.msi.address_lo, 0xFEE0'1000U);
  EXPECT_EQ(found[0]->u.msi.address_hi, 1U);
  EXPECT_EQ(found[0]->u.msi.data, 0x41U);
}

TEST_F(IrqRoutingTest, TellsKvmOnlyOfChanges) {
  const unsigned gsi = *routing_.allocate_msi();
  ASSERT_TRUE(routing_.set_message(gsi, {0xFEE0'0000, 1}).has_value());
  ASSERT_TRUE(routing_.set_message(gsi, {0xFEE0'0000, 1}).has_value());
  EXPECT_EQ(commits_, 1);
  ASSERT_TRUE(routing_.set_message(gsi, {0xFEE0'0000, 2}).has_value());
  EXPECT_EQ(commits_, 2);
}

TEST_F(IrqRoutingTest, KeepsTheMessageBeforeWhenKvmRefuses) {
  const unsigned gsi = *routing_.allocate_msi();
  ASSERT_TRUE(routing_.set_message(gsi, {0xFEE0'0000, 1}).has_value());
  refuse_ = true;
  EXPECT_FALSE(routing_.set_message(gsi, {0xFEE0'0000, 2}).has_value());
  refuse_ = false;
  ASSERT_TRUE(routing_.set_message(gsi, {0xFEE0'0000, 2}).has_value());
  EXPECT_EQ(commits_, 2) << "what was refused is no longer taken for set";
  EXPECT_EQ(msis(table_).at(0)->u.msi.data, 2U);
}

TEST_F(IrqRoutingTest, GivesOutReturnedGsisAgain) {
  const unsigned first = *routing_.allocate_msi();
  const unsigned second = *routing_.allocate_msi();
  EXPECT_NE(first, second);
  ASSERT_TRUE(routing_.set_message(first, {0xFEE0'0000, 1}).has_value());
  routing_.release_msi(first);
  EXPECT_EQ(*routing_.allocate_msi(), first);
  ASSERT_TRUE(routing_.set_message(second, {0xFEE0'0000, 2}).has_value());
  ASSERT_EQ(msis(table_).size(), 1U) << "the returned GSI has no message yet";
  EXPECT_EQ(msis(table_)[0]->gsi, second);
}

TEST_F(IrqRoutingTest, RefusesMoreThanKvmCanRoute) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(routing_.allocate_msi().has_value());
  }
  EXPECT_FALSE(routing_.allocate_msi().has_value());
}

}  // namespace
}  // namespace tapir::vmm
