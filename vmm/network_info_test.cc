// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_info.h"

#include <gmock/gmock.h>

#include "net/command_runner.h"
#include "vmm/testing/parse_line.h"

namespace tapir::vmm {
namespace {

/// The line of the last NIC of a command line, whose tap is `ifname`.
std::string info(const std::string& line, std::string_view ifname = {}) {
  const auto options = testing::parse_words(*net::split_command("tapir -kernel k " + line));
  if (!options) {
    return options.error().front();
  }
  const MachineConfig& machine = std::get<RunOptions>(*options).machine;
  return network_info(machine.nics.back(), static_cast<unsigned>(machine.nics.size() - 1),
                      *net::MacAddress::parse("52:54:00:12:34:56"), ifname, machine.hubs);
}

constexpr const char* kFirst =
    "virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56";

TEST(NetworkInfoTest, BridgeTellsItsName) {
  EXPECT_EQ(info("-net bridge -net nic", "tap3"),
            std::string(kFirst) + " \\ net0: index=0,type=bridge,br=br0");
  EXPECT_EQ(info("-nic bridge,br=br7,id=b,helper=/h", "tap3"),
            std::string(kFirst) + " \\ b: index=0,type=bridge,br=br7,helper=/h");
}

TEST(NetworkInfoTest, TapTellsInterfaceAndScripts) {
  EXPECT_EQ(info("-nic tap,id=n,script=no,downscript=/d", "tap5"),
            std::string(kFirst) + " \\ n: index=0,type=tap,ifname=tap5,script=no,downscript=/d");
  EXPECT_EQ(info("-nic tap,id=n", "tap5"),
            std::string(kFirst) + " \\ n: index=0,type=tap,ifname=tap5,script=" +
                std::string(default_up_script()) + ",downscript=" + std::string(default_down_script()));
}

TEST(NetworkInfoTest, DeviceIsToldOnlyIfItIsNotTheUsualOne) {
  EXPECT_EQ(
      info("-nic tap,id=n,dev=/dev/tap5", "macvtap0"),
      std::string(kFirst) + " \\ n: index=0,type=tap,ifname=macvtap0,script=no,downscript=no,dev=/dev/tap5");
  EXPECT_THAT(info("-nic tap,id=n,dev=/dev/net/tun", "t0"), ::testing::Not(::testing::HasSubstr("dev=")));
}

TEST(NetworkInfoTest, DescriptorsAreTold) {
  EXPECT_EQ(info("-nic tap,fd=3,id=n"), std::string(kFirst) + " \\ n: index=0,type=tap,fd=3");
}

TEST(NetworkInfoTest, EveryQueueThatIsUsedIsTold) {
  EXPECT_EQ(info("-nic tap,fds=3:4,id=n"), std::string(kFirst) + " \\ n: index=0,type=tap,fd=3");
  EXPECT_EQ(info("-netdev tap,fds=3:4,id=n -device virtio-net-pci,netdev=n,mq=on"),
            std::string(kFirst) + " \\ n: index=0,type=tap,fd=3 \\ n: index=1,type=tap,fd=4");
  EXPECT_EQ(info("-netdev bridge,queues=2,id=n -device virtio-net-pci,netdev=n,mq=on"),
            std::string(kFirst) + " \\ n: index=0,type=bridge,br=br0 \\ n: index=1,type=bridge,br=br0");
}

TEST(NetworkInfoTest, NicHasItsIdOrItsNumber) {
  EXPECT_EQ(info("-device virtio-net-device,id=x"),
            "x: index=0,type=nic,model=virtio-net-device,macaddr=52:54:00:12:34:56");
  EXPECT_EQ(info("-device virtio-net-pci -device virtio-net-device"),
            "virtio-net-device.1: index=0,type=nic,model=virtio-net-device,macaddr=52:54:00:12:34:56");
}

TEST(NetworkInfoTest, HubTellsAllItsTaps) {
  EXPECT_EQ(info("-net nic -net tap,fd=3 -net bridge"),
            std::string(kFirst) +
                " \\ hub 0 \\ net0: index=0,type=tap,fd=3 \\ net1: "
                "index=0,type=bridge,br=br0");
}

}  // namespace
}  // namespace tapir::vmm
