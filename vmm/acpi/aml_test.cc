// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/aml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tapir::vmm::acpi::aml {
namespace {

using ::testing::ElementsAre;

Bytes text(std::string_view chars) {
  return {chars.begin(), chars.end()};
}

TEST(Aml, EncodesIntegersInTheShortestForm) {
  EXPECT_THAT(integer(0), ElementsAre(0x00));
  EXPECT_THAT(integer(1), ElementsAre(0x01));
  EXPECT_THAT(integer(0xFF), ElementsAre(0x0A, 0xFF));
  EXPECT_THAT(integer(0x100), ElementsAre(0x0B, 0x00, 0x01));
  EXPECT_THAT(integer(0x1'0000), ElementsAre(0x0C, 0, 0, 1, 0));
  EXPECT_THAT(integer(0x1'0000'0000), ElementsAre(0x0E, 0, 0, 0, 0, 1, 0, 0, 0));
}

TEST(Aml, CompressesEisaIds) {
  EXPECT_THAT(eisa_id("PNP0A08"), ElementsAre(0x0C, 0x41, 0xD0, 0x0A, 0x08));
  EXPECT_THAT(eisa_id("PNP0501"), ElementsAre(0x0C, 0x41, 0xD0, 0x05, 0x01));
}

TEST(Aml, SwapsTheFirstThreeGroupsOfAUuid) {
  EXPECT_THAT(uuid("33db4d5b-1ff7-401c-9657-7441c03dd766"),
              ElementsAre(0x11, 19, 0x0A, 16, 0x5B, 0x4D, 0xDB, 0x33, 0xF7, 0x1F, 0x1C, 0x40, 0x96, 0x57,
                          0x74, 0x41, 0xC0, 0x3D, 0xD7, 0x66));
}

TEST(Aml, PadsSegmentsAndPrefixesPaths) {
  EXPECT_EQ(path("RTC"), text("RTC_"));
  EXPECT_EQ(path("\\_SB"), text("\\_SB_"));
  EXPECT_EQ(path("\\_SB.PCI0"), text("\\\x2E_SB_PCI0"));
  EXPECT_EQ(path("A.B.C0"), text("\x2F\x03"
                                 "A___B___C0__"));
}

TEST(Aml, CountsThePackageLengthItselfAndGrowsItWhenNeeded) {
  // BufferOp, PkgLength, BufferSize, content: the length covers itself and all behind it.
  const auto encoded = [](std::size_t bytes) { return buffer(Bytes(bytes, 0xEE)); };
  EXPECT_EQ(encoded(60)[1], 63);  // 1 + 2 + 60: the most that one byte can say
  EXPECT_EQ(encoded(61)[1], (1 << 6) | ((2 + 2 + 61) & 0xF));
  EXPECT_EQ(encoded(61)[2], (2 + 2 + 61) >> 4);
  const Bytes last_of_two = encoded(0xFFF - 2 - 3);
  EXPECT_EQ(last_of_two[1], 0x4F);
  EXPECT_EQ(last_of_two[2], 0xFF);
  const Bytes first_of_three = encoded(0xFFF - 2 - 2);
  EXPECT_EQ(first_of_three[1], 0x81);  // 0x1001
  EXPECT_EQ(first_of_three[2], 0x00);
  EXPECT_EQ(first_of_three[3], 0x01);
}

TEST(Aml, EncodesResourceDescriptorsAsTheSpecificationDrawsThem) {
  EXPECT_THAT(io_port(0x3F8, 8), ElementsAre(0x47, 0x01, 0xF8, 0x03, 0xF8, 0x03, 1, 8));
  EXPECT_THAT(isa_irq(4), ElementsAre(0x22, 0x10, 0x00));
  EXPECT_THAT(interrupt(20, Trigger::kEdge, Polarity::kActiveHigh, Sharing::kShared),
              ElementsAre(0x89, 6, 0, 0x0B, 1, 20, 0, 0, 0));
  EXPECT_THAT(interrupt(16, Trigger::kLevel, Polarity::kActiveLow, Sharing::kExclusive),
              ElementsAre(0x89, 6, 0, 0x05, 1, 16, 0, 0, 0));
  EXPECT_THAT(memory32_fixed(0xE000'0000, 0x10'0000),
              ElementsAre(0x86, 9, 0, 1, 0, 0, 0, 0xE0, 0, 0, 0x10, 0));
  EXPECT_THAT(word_bus_numbers(0, 0), ElementsAre(0x88, 13, 0, 2, 0x0C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
  EXPECT_EQ(dword_memory(0xC000'0000, 0xDFFF'FFFF).size(), 26U);
  EXPECT_EQ(qword_memory(1ULL << 32, (1ULL << 33) - 1).size(), 46U);
}

TEST(Aml, EndsATemplateWithAnEndTag) {
  EXPECT_THAT(resource_template({isa_irq(1)}), ElementsAre(0x11, 8, 0x0A, 5, 0x22, 0x02, 0x00, 0x79, 0x00));
}

TEST(Aml, NestsBlocks) {
  EXPECT_THAT(device("D", {name("_UID", integer(1))}),
              ElementsAre(0x5B, 0x82, 11, 'D', '_', '_', '_', 0x08, '_', 'U', 'I', 'D', 0x01));
  EXPECT_THAT(method("M", 2, true, {give_back(arg(1))}),
              ElementsAre(0x14, 8, 'M', '_', '_', '_', 0x0A, 0xA4, 0x69));
  EXPECT_THAT(when(logical_not(equal(local(0), integer(1))), {}),
              ElementsAre(0xA0, 5, 0x92, 0x93, 0x60, 0x01));
}

TEST(AmlDeathTest, RefusesNamesThatNoParserTakes) {
  EXPECT_DEATH(path("TOOLONG"), "bug");
  EXPECT_DEATH(path("0ABC"), "bug");
  EXPECT_DEATH(path("low"), "bug");
}

}  // namespace
}  // namespace tapir::vmm::acpi::aml
