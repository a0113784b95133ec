// SPDX-License-Identifier: Apache-2.0
#include "vmm/netdev_options.h"

#include <gmock/gmock.h>

#include <sstream>

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Feeds "-netdev A -device B …" and resolves; errors of an option come without its name, as they do to the
/// caller.
Result<std::vector<NicConfig>> resolve(const std::string& line,
                                       std::vector<std::string>* warnings = nullptr) {
  NetworkOptions network;
  std::istringstream stream(line);
  for (std::string option, argument; stream >> option >> argument;) {
    if (option == "-netdev") {
      TAPIR_TRY(network.add_netdev(argument));
    } else if (option == "-device") {
      TAPIR_TRY(network.add_device(argument));
    } else if (option == "-net") {
      TAPIR_TRY(network.add_net(argument));
    } else {
      EXPECT_EQ(option, "-nic");
      TAPIR_TRY(network.add_nic(argument));
    }
  }
  std::vector<std::string> unused;
  return network.resolve(warnings != nullptr ? *warnings : unused);
}

std::vector<NicConfig> nics(const std::string& line) {
  const auto resolved = resolve(line);
  EXPECT_TRUE(resolved) << line << ": " << resolved.error().message();
  return resolved.value_or(std::vector<NicConfig>());
}

std::string refusal(const std::string& line) {
  const auto resolved = resolve(line);
  return resolved ? "accepted" : resolved.error().message();
}

TEST(NetworkOptionsTest, DeviceIsJoinedToItsNetdev) {
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

TEST(NetworkOptionsTest, DeviceMayComeBeforeItsNetdev) {
  EXPECT_EQ(nics("-device virtio-net-pci,netdev=a -netdev tap,id=a,fd=5").size(), 1U);
}

TEST(NetworkOptionsTest, QemuNamesOfTheModels) {
  for (const char* const driver :
       {"virtio-net-pci", "virtio-net", "virtio-net-pci-non-transitional", "driver=virtio-net-pci"}) {
    const auto found = nics("-netdev tap,id=a,fd=5 -device " + std::string(driver) + ",netdev=a");
    ASSERT_EQ(found.size(), 1U) << driver;
    EXPECT_EQ(found[0].model, NicModel::kVirtioNetPci);
  }
  EXPECT_EQ(nics("-net tap,fd=5 -net nic,model=virtio-net-device")[0].model, NicModel::kVirtioNetDevice);
}

TEST(NetworkOptionsTest, NetJoinsOnePairInAnyOrder) {
  for (const char* const line : {"-net nic,model=virtio,macaddr=52-54-00-00-00-09 -net tap,fd=3",
                                 "-net tap,fd=3 -net nic,macaddr=52:54:00:00:00:09"}) {
    const auto found = nics(line);
    ASSERT_EQ(found.size(), 1U) << line;
    EXPECT_EQ(found[0].model, NicModel::kVirtioNetPci);
    EXPECT_EQ(found[0].mac->to_string(), "52:54:00:00:00:09");
    EXPECT_THAT(found[0].backend->fds, ElementsAre(3));
  }
}

TEST(NetworkOptionsTest, NetNicMayNameANetdev) {
  const auto found = nics("-netdev tap,id=a,fd=5 -net nic,netdev=a -net tap,fd=6 -net nic");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_THAT(found[0].backend->fds, ElementsAre(5));
  EXPECT_THAT(found[1].backend->fds, ElementsAre(6));
}

TEST(NetworkOptionsTest, BridgeAndNicArePairedWithDefaults) {
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

TEST(NetworkOptionsTest, NicBringsItsBackend) {
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

TEST(NetworkOptionsTest, CardOfNicDoesNotBelongToThePair) {
  EXPECT_EQ(nics("-nic bridge -net bridge -net nic -nic bridge,br=br1").size(), 3U);
}

TEST(NetworkOptionsTest, OptionsAreKeptForMessages) {
  const auto found = nics("-nic bridge,br=br1 -netdev tap,id=a,fd=3 -device virtio-net-pci,netdev=a");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].option, "-nic bridge,br=br1");
  EXPECT_EQ(found[0].backend->option, "-nic bridge,br=br1");
  EXPECT_EQ(found[1].option, "-device virtio-net-pci,netdev=a");
  EXPECT_EQ(found[1].backend->option, "-netdev tap,id=a,fd=3");
}

TEST(NetworkOptionsTest, QueuesWithoutUseAreAWarning) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(resolve("-net bridge,queues=4 -net nic", &warnings));
  EXPECT_THAT(warnings, ElementsAre("-net bridge,queues=4: a NIC has one queue pair as yet; the first of the "
                                    "4 queues of the tap is used and the others get no frames"));
}

TEST(NetworkOptionsTest, KeyWithoutEffectIsAWarning) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(resolve("-net tap,fd=3,br=br1 -net nic", &warnings));
  EXPECT_THAT(warnings, ElementsAre("-net tap,fd=3,br=br1: br=br1 has no effect without helper="));
}

TEST(NetworkOptionsTest, AllZeroAddressIsAsIfNotGiven) {
  EXPECT_EQ(nics("-net tap,fd=3 -net nic,macaddr=00:00:00:00:00:00")[0].mac, std::nullopt);
}

TEST(NetworkOptionsTest, NoneAddsNothing) {
  EXPECT_THAT(nics("-net none -nic none"), IsEmpty());
}

TEST(NetworkOptionsTest, BackendWithoutNicWarns) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(resolve("-net tap,fd=3", &warnings));
  EXPECT_THAT(warnings, ElementsAre("-net tap,fd=3 has no NIC and is not opened; add -net nic,model=virtio"));
  warnings.clear();
  ASSERT_TRUE(resolve("-netdev bridge,id=n0", &warnings));
  EXPECT_THAT(warnings, ElementsAre("-netdev bridge,id=n0 has no NIC and is not opened; add -device "
                                    "virtio-net-pci,netdev=n0"));
}

struct Refusal {
  const char* line;
  const char* message;
};

class NetworkRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(NetworkRefusalTest, IsOneClearSentence) {
  EXPECT_EQ(refusal(GetParam().line), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Types, NetworkRefusalTest,
    ::testing::Values(
        Refusal{"-netdev user,id=a", "tapir has no network backend 'user'; it has tap and bridge"},
        Refusal{"-netdev brigde,id=a", "tapir has no network backend 'brigde'; did you mean 'bridge'?"},
        Refusal{"-netdev {\"type\":\"tap\"}",
                "the JSON form is not supported; write for example bridge,id=n0,br=br0"},
        Refusal{"-net user", "tapir has no network backend 'user'; it has tap and bridge"},
        Refusal{"-nic user,model=virtio", "tapir has no network backend 'user'; it has tap and bridge"},
        Refusal{"-nic model=virtio", "the type of the backend is missing; for example bridge,br=br0"},
        Refusal{"-device virtio-net-pcie,netdev=a",
                "tapir has no device 'virtio-net-pcie'; did you mean 'virtio-net-pci'?"},
        Refusal{"-device e1000,netdev=a",
                "tapir has no device 'e1000'; it has virtio-net-pci and virtio-net-device"},
        Refusal{"-net nic,model=e1000", "tapir has no NIC model 'e1000'; use model=virtio"},
        Refusal{"-nic bridge,model=e1000", "tapir has no NIC model 'e1000'; use model=virtio"}));

INSTANTIATE_TEST_SUITE_P(
    Backends, NetworkRefusalTest,
    ::testing::Values(Refusal{"-netdev bridge", "id= is missing; for example bridge,id=n0,br=br0"},
                      Refusal{"-netdev tap,ifname=t0,script=no,downscript=no",
                              "id= is missing; for example bridge,id=n0,br=br0"},
                      Refusal{"-netdev tap,id=a,fd=3 -netdev tap,id=a,fd=4",
                              "id=a is already taken by -netdev tap,id=a,fd=3"},
                      Refusal{"-netdev bridge,id=a -nic bridge,id=a",
                              "id=a is already taken by -netdev bridge,id=a"},
                      Refusal{"-netdev tap,id=a,fd=3 -netdev tap,id=b,fd=3",
                              "-netdev tap,id=b,fd=3: fd=3 is already used by -netdev tap,id=a,fd=3"}));

INSTANTIATE_TEST_SUITE_P(
    Nics, NetworkRefusalTest,
    ::testing::Values(
        Refusal{
            "-device virtio-net-pci",
            "netdev= is missing; for example -netdev bridge,id=n0,br=br0 -device virtio-net-pci,netdev=n0"},
        Refusal{"-nic bridge,id=a -device virtio-net-pci,netdev=a",
                "-device virtio-net-pci,netdev=a: netdev 'a' is already used by -nic bridge,id=a; each NIC "
                "needs a netdev of its own"},
        Refusal{"-device virtio-net-pci,netdev=a -nic bridge,id=a",
                "-nic bridge,id=a: netdev 'a' is already used by -device virtio-net-pci,netdev=a; each NIC "
                "needs a netdev of its own"},
        Refusal{"-nic bridge -device virtio-net-pci,netdev=",
                "-device virtio-net-pci,netdev=: there is no netdev ''; add -netdev bridge,id=,br=br0"},
        Refusal{"-nic bridge,mac=52:54:00:12:34:56 -net bridge -net nic,macaddr=52:54:00:12:34:56",
                "-net nic,macaddr=52:54:00:12:34:56: the address 52:54:00:12:34:56 is already used by -nic "
                "bridge,mac=52:54:00:12:34:56; give each NIC its own"},
        Refusal{"-nic bridge,mac=1:0:0:0:0:0",
                "mac=1:0:0:0:0:0 is a multicast address (odd first byte), which a NIC cannot have; for "
                "example 52:54:00:12:34:56 is one"},
        Refusal{"-nic bridge,macaddr=52:54:00:12:34:56",
                "unknown key 'macaddr'; tapir knows type, id, br, helper, queues, down-helper, model, mac"},
        Refusal{"-netdev tap,id=net0,fd=3 -device virtio-net-pci,netdev=net1",
                "-device virtio-net-pci,netdev=net1: there is no netdev 'net1'; did you mean 'net0'?"},
        Refusal{"-device virtio-net-pci,netdev=n0",
                "-device virtio-net-pci,netdev=n0: there is no netdev 'n0'; add -netdev "
                "bridge,id=n0,br=br0"},
        Refusal{"-netdev tap,id=a,fd=3 -device virtio-net-pci,netdev=a -device virtio-net-device,netdev=a",
                "-device virtio-net-device,netdev=a: netdev 'a' is already used by -device "
                "virtio-net-pci,netdev=a; "
                "each NIC needs a netdev of its own"},
        Refusal{"-netdev tap,id=a,fd=3 -netdev tap,id=b,fd=4 -device virtio-net-pci,netdev=a,id=x -device "
                "virtio-net-pci,netdev=b,id=x",
                "id=x is already taken by -device virtio-net-pci,netdev=a,id=x"},
        Refusal{"-netdev tap,id=a,fd=3 -netdev tap,id=b,fd=4 -device virtio-net-pci,netdev=a,mac=2:0:0:0:0:1 "
                "-device "
                "virtio-net-pci,netdev=b,mac=02-00-00-00-00-01",
                "-device virtio-net-pci,netdev=b,mac=02-00-00-00-00-01: the address 02:00:00:00:00:01 is "
                "already used "
                "by -device virtio-net-pci,netdev=a,mac=2:0:0:0:0:1; give each NIC its own"},
        Refusal{"-device virtio-net-pci,netdev=a,mac=52:54:00:12:34",
                "mac=52:54:00:12:34 is not an Ethernet address; it has six hexadecimal bytes, for example "
                "52:54:00:12:34:56"},
        Refusal{"-net nic,macaddr=zz",
                "macaddr=zz is not an Ethernet address; it has six hexadecimal bytes, for example "
                "52:54:00:12:34:56"},
        Refusal{"-device virtio-net-pci,netdev=a,mac=01:00:5e:00:00:01",
                "mac=01:00:5e:00:00:01 is a multicast address (odd first byte), which a NIC cannot have; for "
                "example "
                "52:54:00:12:34:56 is one"},
        Refusal{"-device virtio-net-pci,netdev=a,mq=on",
                "unknown key 'mq'; tapir knows driver, netdev, mac, id"},
        Refusal{"-net nic", "-net nic: the NIC has no backend; add -net bridge,br=br0"},
        Refusal{
            "-net nic -net nic -net tap,fd=3",
            "-net joins one NIC and one backend; write each further pair as -netdev bridge,id=ID,... -device "
            "virtio-net-pci,netdev=ID, or as -nic bridge,..."}));

}  // namespace
}  // namespace tapir::vmm
