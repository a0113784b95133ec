// SPDX-License-Identifier: Apache-2.0
#include "net/interface_name.h"

#include <gmock/gmock.h>

#include <string_view>

namespace tapir::net {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CheckInterfaceName, FollowsTheKernelsRules) {
  for (const std::string_view name : {"t", "tap0", "br0", "vm-1.100", "123456789012345", "\xC3\xA9", "..."}) {
    EXPECT_TRUE(check_interface_name(name)) << name;
  }
  for (const std::string_view name :
       {"", ".", "..", "a/b", "a b", "a:1", "tap%d", "a\nb", "a\tb", "\x7F", "1234567890123456"}) {
    EXPECT_FALSE(check_interface_name(name)) << name;
  }
}

TEST(CheckInterfaceName, NamesTheValueAtFault) {
  EXPECT_EQ(check_interface_name("").error().message(),
            "the name of the interface is empty; give its name, for example br0 or tap0");
  EXPECT_THAT(check_interface_name("tap%d").error().message(), AllOf(HasSubstr("'tap%d'"), HasSubstr("'%'")));
  EXPECT_THAT(check_interface_name("1234567890123456").error().message(),
              AllOf(HasSubstr("16 bytes"), HasSubstr("15")));
  // Not printed raw: it would break the line.
  EXPECT_THAT(check_interface_name("a\nb").error().message(), HasSubstr("0x0a"));
}

}  // namespace
}  // namespace tapir::net
