// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_resolver.h"

#include <gmock/gmock.h>

#include <sstream>

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Resolved {
  NetworkConfig network;
  std::vector<std::string> warnings;
  std::vector<std::string> problems;
};

/// Feeds "-netdev A -device B …" and resolves.
Resolved resolve(const std::string& line) {
  NetworkOptions options;
  Problems problems;
  std::istringstream stream(line);
  for (std::string option, argument; stream >> option >> argument;) {
    if (option == "-netdev") {
      options.add_netdev(argument, problems);
    } else if (option == "-device") {
      options.add_device(argument, split_items(argument, "driver"), problems);
    } else if (option == "-net") {
      options.add_net(argument, problems);
    } else {
      EXPECT_EQ(option, "-nic");
      options.add_nic(argument, problems);
    }
  }
  Resolved resolved;
  resolved.network = resolve_network(options.in_order(), problems, resolved.warnings);
  resolved.problems = problems.sentences();
  return resolved;
}

NetworkConfig network(const std::string& line) {
  const Resolved resolved = resolve(line);
  EXPECT_THAT(resolved.problems, IsEmpty()) << line;
  return resolved.network;
}

std::vector<NicConfig> nics(const std::string& line, std::vector<std::string>* warnings = nullptr) {
  if (warnings != nullptr) {
    *warnings = resolve(line).warnings;
  }
  NetworkConfig found = network(line);
  EXPECT_THAT(found.hubs, IsEmpty()) << line;
  return found.nics;
}

TEST(NetworkResolverTest, DeviceIsJoinedToItsNetdev) {
  const auto found = nics(
      "-netdev tap,id=a,ifname=t0,script=no,downscript=no -netdev tap,id=b,fd=5 "
      "-device virtio-net-device,netdev=b,id=second -device virtio-net-pci,netdev=a,mac=2:0:0:0:0:1");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].model, NicModel::kVirtioNetDevice);
  EXPECT_EQ(found[0].id, "second");
  EXPECT_EQ(found[0].mac, std::nullopt);
  EXPECT_EQ(found[0].backend->id, "b");
  EXPECT_THAT(found[0].backend->fds, ElementsAre(5));
  EXPECT_EQ(found[1].model, NicModel::kVirtioNetPci);
  EXPECT_EQ(found[1].mac->to_string(), "02:00:00:00:00:01");
  EXPECT_EQ(found[1].backend->ifname, "t0");
  EXPECT_THAT(found[1].backend->fds, IsEmpty());
}

TEST(NetworkResolverTest, DeviceMayComeBeforeItsNetdev) {
  EXPECT_EQ(nics("-device virtio-net-pci,netdev=a -netdev tap,id=a,fd=5").size(), 1U);
}

TEST(NetworkResolverTest, QemuNamesOfTheModels) {
  for (const char* const driver :
       {"virtio-net-pci", "virtio-net", "virtio-net-pci-non-transitional", "driver=virtio-net-pci"}) {
    const auto found = nics("-netdev tap,id=a,fd=5 -device " + std::string(driver) + ",netdev=a");
    ASSERT_EQ(found.size(), 1U) << driver;
    EXPECT_EQ(found[0].model, NicModel::kVirtioNetPci);
  }
  EXPECT_EQ(nics("-net tap,fd=5 -net nic,model=virtio-net-device")[0].model, NicModel::kVirtioNetDevice);
}

TEST(NetworkResolverTest, NetJoinsOnePairInAnyOrder) {
  for (const char* const line : {"-net nic,model=virtio,macaddr=52-54-00-00-00-09 -net tap,fd=3",
                                 "-net tap,fd=3 -net nic,macaddr=52:54:00:00:00:09"}) {
    const auto found = nics(line);
    ASSERT_EQ(found.size(), 1U) << line;
    EXPECT_EQ(found[0].model, NicModel::kVirtioNetPci);
    EXPECT_EQ(found[0].mac->to_string(), "52:54:00:00:00:09");
    EXPECT_THAT(found[0].backend->fds, ElementsAre(3));
  }
}

TEST(NetworkResolverTest, NetNicMayNameANetdev) {
  const auto found = nics("-netdev tap,id=a,fd=5 -net nic,netdev=a -net tap,fd=6 -net nic");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_THAT(found[0].backend->fds, ElementsAre(5));
  EXPECT_THAT(found[1].backend->fds, ElementsAre(6));
}

TEST(NetworkResolverTest, BridgeAndNicArePairedWithDefaults) {
  for (const char* const line : {"-net bridge -net nic,model=virtio", "-net nic -net bridge"}) {
    const auto found = nics(line);
    ASSERT_EQ(found.size(), 1U) << line;
    EXPECT_EQ(found[0].model, NicModel::kVirtioNetPci);
    EXPECT_EQ(found[0].backend->option, "-net bridge");
    EXPECT_EQ(found[0].backend->vnet_header, std::nullopt);
    const auto& bridge = found[0].backend->bridge;
    ASSERT_TRUE(bridge);
    EXPECT_EQ(bridge->bridge, "br0");
    EXPECT_EQ(bridge->helper, std::nullopt);
    EXPECT_EQ(found[0].backend->queues, 1U);
    EXPECT_THAT(bridge->down_command, IsEmpty());
  }
}

TEST(NetworkResolverTest, NicBringsItsBackend) {
  const auto found = nics(
      "-netdev bridge,id=a -nic bridge,br=br1,mac=52:54:00:00:00:09,model=virtio-net-device,id=b "
      "-nic tap,fd=3 -device virtio-net-pci,netdev=a");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].model, NicModel::kVirtioNetDevice);
  EXPECT_EQ(found[0].mac->to_string(), "52:54:00:00:00:09");
  EXPECT_EQ(found[0].backend->bridge->bridge, "br1");
  EXPECT_EQ(found[0].backend->id, "b");
  EXPECT_EQ(found[1].model, NicModel::kVirtioNetPci);
  EXPECT_EQ(found[1].mac, std::nullopt);
  EXPECT_THAT(found[1].backend->fds, ElementsAre(3));
  EXPECT_EQ(found[2].backend->id, "a");
}

TEST(NetworkResolverTest, CardOfNicDoesNotBelongToThePair) {
  EXPECT_EQ(nics("-nic bridge -net bridge -net nic -nic bridge,br=br1").size(), 3U);
}

TEST(NetworkResolverTest, OptionsAreKeptForMessages) {
  const auto found = nics("-nic bridge,br=br1 -netdev tap,id=a,fd=3 -device virtio-net-pci,netdev=a");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].option, "-nic bridge,br=br1");
  EXPECT_EQ(found[0].backend->option, "-nic bridge,br=br1");
  EXPECT_EQ(found[1].option, "-device virtio-net-pci,netdev=a");
  EXPECT_EQ(found[1].backend->option, "-netdev tap,id=a,fd=3");
}

TEST(NetworkResolverTest, QueuesWithoutUseAreAWarning) {
  std::vector<std::string> warnings;
  nics("-net bridge,queues=4 -net nic", &warnings);
  EXPECT_THAT(warnings,
              ElementsAre("-net bridge,queues=4: the NIC has no mq=on, so the first of the 4 queues "
                          "of its tap is used; -device virtio-net-pci,mq=on uses them all"));
  warnings.clear();
  const auto found = nics("-netdev tap,id=a,fds=5:6 -device virtio-net-pci,mq=on,netdev=a", &warnings);
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_TRUE(found[0].multi_queue);
  EXPECT_EQ(found[0].backend->queues, 2U);
}

TEST(NetworkResolverTest, MultiQueueWithoutControlQueueIsAWarning) {
  std::vector<std::string> warnings;
  nics("-netdev tap,id=a,fds=5:6 -device virtio-net-pci,mq=on,ctrl_vq=off,netdev=a", &warnings);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("mq=on has no effect with ctrl_vq=off")));
}

TEST(NetworkResolverTest, KeyWithoutEffectIsAWarning) {
  std::vector<std::string> warnings;
  nics("-net tap,fd=3,br=br1 -net nic", &warnings);
  EXPECT_THAT(warnings, ElementsAre("-net tap,fd=3,br=br1: br=br1 has no effect without helper="));
}

TEST(NetworkResolverTest, AllZeroAddressIsAsIfNotGiven) {
  EXPECT_EQ(nics("-net tap,fd=3 -net nic,macaddr=00:00:00:00:00:00")[0].mac, std::nullopt);
}

TEST(NetworkResolverTest, NoneAddsNothing) {
  EXPECT_THAT(nics("-net none -nic none"), IsEmpty());
}

TEST(NetworkResolverTest, BackendWithoutNicWarns) {
  std::vector<std::string> warnings;
  nics("-net tap,fd=3", &warnings);
  EXPECT_THAT(warnings, ElementsAre("-net tap,fd=3 has no NIC and is not opened; add -net nic,model=virtio"));
  warnings.clear();
  nics("-netdev bridge,id=n0", &warnings);
  EXPECT_THAT(warnings, ElementsAre("-netdev bridge,id=n0 has no NIC and is not opened; add -device "
                                    "virtio-net-pci,netdev=n0"));
}

TEST(NetworkResolverTest, NicsComeInQemusOrder) {
  const auto found = nics(
      "-device virtio-net-pci,netdev=a,id=device -net nic,id=net -net bridge -nic bridge,id=nic "
      "-netdev bridge,id=a");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].option, "-nic bridge,id=nic");
  EXPECT_EQ(found[1].id, "net");
  EXPECT_EQ(found[2].id, "device");
}

TEST(NetworkResolverTest, BackendsWithoutIdGetOne) {
  const auto found = nics("-nic bridge -nic bridge,id=net1 -nic bridge -net bridge -net nic");
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].backend->id, "net0");
  EXPECT_EQ(found[1].backend->id, "net1");
  EXPECT_EQ(found[2].backend->id, "net2");
  EXPECT_EQ(found[3].backend->id, "net3");
}

TEST(NetworkResolverTest, ThreePortsShareAHub) {
  const NetworkConfig found =
      network("-net nic -net tap,fd=3 -net tap,fd=4 -netdev tap,id=a,fd=5 -net nic,netdev=a");
  ASSERT_EQ(found.hubs.size(), 1U);
  EXPECT_EQ(found.hubs[0].id, 0);
  ASSERT_EQ(found.hubs[0].taps.size(), 2U);
  EXPECT_THAT(found.hubs[0].taps[0].fds, ElementsAre(3));
  EXPECT_THAT(found.hubs[0].taps[1].fds, ElementsAre(4));
  ASSERT_EQ(found.nics.size(), 2U);
  EXPECT_EQ(found.nics[0].hub, 0U);
  EXPECT_FALSE(found.nics[0].backend);
  EXPECT_EQ(found.nics[1].hub, std::nullopt);
  EXPECT_THAT(found.nics[1].backend->fds, ElementsAre(5));
}

TEST(NetworkResolverTest, HubPortsJoinBackendsAndNics) {
  const NetworkConfig found = network(
      "-netdev tap,id=a,fd=3 -netdev hubport,id=pa,hubid=7,netdev=a -netdev hubport,id=p1,hubid=7 "
      "-netdev hubport,id=p2,hubid=7 -device virtio-net-pci,netdev=p1 -device virtio-net-device,netdev=p2 "
      "-nic hubport,hubid=7 -netdev tap,id=b,fd=4 -netdev hubport,id=pb,hubid=9,netdev=b -nic "
      "hubport,hubid=9");
  ASSERT_EQ(found.hubs.size(), 1U);  // hub 9 is one tap and one NIC
  EXPECT_EQ(found.hubs[0].id, 7);
  ASSERT_EQ(found.hubs[0].taps.size(), 1U);
  EXPECT_EQ(found.hubs[0].taps[0].id, "a");
  ASSERT_EQ(found.nics.size(), 4U);
  EXPECT_EQ(found.nics[0].hub, 0U);
  EXPECT_EQ(found.nics[1].backend->id, "b");
  EXPECT_EQ(found.nics[2].hub, 0U);
  EXPECT_EQ(found.nics[3].hub, 0U);
}

TEST(NetworkResolverTest, HubsWithoutTapsOrNicsStayWithAWarning) {
  const Resolved two_nics = resolve("-net nic -net nic");
  EXPECT_EQ(two_nics.network.hubs.size(), 1U);
  EXPECT_THAT(two_nics.warnings,
              ElementsAre("-net nic: hub 0 is not connected to the host's network; add -net "
                          "bridge or another backend"));
  const Resolved two_taps = resolve("-net tap,fd=3 -net tap,fd=4");
  EXPECT_EQ(two_taps.network.hubs.size(), 1U);
  EXPECT_THAT(two_taps.warnings,
              ElementsAre("-net tap,fd=3: hub 0 has no NIC and joins its taps only; add -net nic"));
}

TEST(NetworkResolverTest, NicAloneReachesNothing) {
  for (const char* const line : {"-net nic", "-device virtio-net-pci", "-nic hubport,hubid=3"}) {
    const Resolved resolved = resolve(line);
    ASSERT_EQ(resolved.network.nics.size(), 1U) << line;
    EXPECT_FALSE(resolved.network.nics[0].backend || resolved.network.nics[0].hub) << line;
    EXPECT_THAT(resolved.network.hubs, IsEmpty()) << line;
    EXPECT_EQ(resolved.warnings.size(), 1U) << line;
  }
}

TEST(NetworkResolverTest, OneAddressForTwoNicsIsAWarning) {
  std::vector<std::string> warnings;
  nics("-nic bridge,mac=52:54:00:12:34:56 -nic bridge,mac=52:54:00:12:34:56,br=br1", &warnings);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("52:54:00:12:34:56 is also that of -nic bridge,mac=")));
}

TEST(NetworkResolverTest, PropertiesOfANicAreKept) {
  const auto found = nics(
      "-netdev tap,id=a,fd=3 -device "
      "virtio-net-pci,netdev=a,csum=off,noguest_csum,event_idx=on,rx_queue_size=1024,"
      "tx_queue_size=512,host_mtu=1400,vectors=0,addr=1f,speed=10000,duplex=full,bootindex=3");
  ASSERT_EQ(found.size(), 1U);
  const NicConfig& nic = found[0];
  EXPECT_EQ(nic.features_off, virtio::kOffByDefault | 0b11U);  // VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM
  EXPECT_EQ(nic.rx_queue_size, 1024U);
  EXPECT_EQ(nic.tx_queue_size, 512U);
  EXPECT_EQ(nic.host_mtu, 1400U);
  EXPECT_EQ(nic.vectors, 0U);
  EXPECT_EQ(nic.address, (PciAddress{31, 0}));
  EXPECT_EQ(nic.speed, 10000U);
  EXPECT_EQ(nic.duplex, NicConfig::Duplex::kFull);
  EXPECT_EQ(nic.bootindex, 3);
}

TEST(NetworkResolverTest, MinusOneIsAsIfNotGiven) {
  const auto found =
      nics("-netdev tap,id=a,fd=3 -device virtio-net-pci,netdev=a,speed=-1,bootindex=-1,vectors=4294967295");
  EXPECT_EQ(found[0].speed, std::nullopt);
  EXPECT_EQ(found[0].bootindex, std::nullopt);
  EXPECT_EQ(found[0].vectors, std::nullopt);
}

TEST(NetworkResolverTest, NumberIsTheEndOfAnAddress) {
  EXPECT_EQ(nics("-net tap,fd=3 -net nic,macaddr=0x12345")[0].mac->to_string(), "00:00:00:01:23:45");
}

TEST(NetworkResolverTest, EveryProblemIsToldWithItsOption) {
  EXPECT_THAT(
      resolve("-netdev tap,id=a,fd=3 -netdev tap,id=a,fd=4 -device virtio-net-pci,netdev=b,id=x,addr=5 "
              "-device virtio-net-pci,netdev=a,id=x,addr=5")
          .problems,
      ElementsAre("-netdev tap,id=a,fd=4: id=a is already taken by -netdev tap,id=a,fd=3; choose another",
                  "-device virtio-net-pci,netdev=b,id=x,addr=5: there is no netdev 'b'; add -netdev "
                  "bridge,id=b,br=br0",
                  "-device virtio-net-pci,netdev=a,id=x,addr=5: id=x is already taken by -device "
                  "virtio-net-pci,netdev=b,id=x,addr=5; choose another",
                  "-device virtio-net-pci,netdev=a,id=x,addr=5: addr=5: the slot is already taken by -device "
                  "virtio-net-pci,netdev=b,id=x,addr=5; choose another"));
}

}  // namespace
}  // namespace tapir::vmm
