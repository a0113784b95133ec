// SPDX-License-Identifier: Apache-2.0
#include "helper/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace tapir::helper {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(AuditMessage, AGrantNamesTheUserTheBridgeTheTapAndTheRule) {
  EXPECT_EQ(audit_message({true, 1000, "br0", "tap-1", "allowed at /etc/tapir/bridge.conf:3"}, 4711),
            "<86>tapir-bridge-helper[4711]: granted uid=1000 bridge=br0 tap=tap-1 "
            "reason=\"allowed at /etc/tapir/bridge.conf:3\"");
}

TEST(AuditMessage, ARefusalHasNoTapAndAHigherPriority) {
  EXPECT_EQ(audit_message({false, 4294967294, "br0", "", "denied at /etc/tapir/bridge.conf:4"}, 1),
            "<85>tapir-bridge-helper[1]: refused uid=4294967294 bridge=br0 "
            "reason=\"denied at /etc/tapir/bridge.conf:4\"");
}

TEST(AuditMessage, NoTextCanAddALineOrAField) {
  const std::string message =
      audit_message({false, 0, "br0", "t\n0", "a\nb\x1b[2J\" tap=tap9 reason=\"allowed\xff"}, 1);
  EXPECT_THAT(message, HasSubstr("tap=t\\x0a0 "));
  EXPECT_THAT(message, EndsWith("reason=\"a\\x0ab\\x1b[2J' tap=tap9 reason='allowed\\xff\""));
  EXPECT_TRUE(std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

TEST(AuditMessage, FitsIntoWhatEveryReceiverTakes) {
  const std::string endless(100'000, '\n');
  EXPECT_LE(audit_message({false, 4294967295, endless, endless, endless}, 4194304).size(), 1024U);
}

}  // namespace
}  // namespace tapir::helper
