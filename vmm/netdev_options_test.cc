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
  EXPECT_EQ(found[0].backend.id, "b");
  EXPECT_EQ(found[0].backend.fd, 5);
  EXPECT_EQ(found[1].model, NicModel::kVirtioNetPci);
  EXPECT_EQ(found[1].mac->to_string(), "02:00:00:00:00:01");
  EXPECT_EQ(found[1].backend.ifname, "t0");
  EXPECT_EQ(found[1].backend.fd, std::nullopt);
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

TEST(NetworkOptionsTest, VnetHeaderIsKeptAsGiven) {
  const auto with = [](const std::string& more) {
    return nics("-netdev tap,id=a,ifname=t0,script=no,downscript=no" + more +
                " -device virtio-net-pci,netdev=a")
        .at(0)
        .backend.vnet_header;
  };
  EXPECT_EQ(with(""), std::nullopt);
  EXPECT_EQ(with(",vnet_hdr=off"), false);
  EXPECT_EQ(with(",vnet_hdr"), true);
  EXPECT_EQ(with(",vnet_hdr=on"), true);
}

TEST(NetworkOptionsTest, EmptyScriptIsNoScript) {
  EXPECT_EQ(nics("-net tap,ifname=t0,script=,downscript= -net nic").size(), 1U);
}

TEST(NetworkOptionsTest, NetJoinsOnePairInAnyOrder) {
  for (const char* const line : {"-net nic,model=virtio,macaddr=52-54-00-00-00-09 -net tap,fd=3",
                                 "-net tap,fd=3 -net nic,macaddr=52:54:00:00:00:09"}) {
    const auto found = nics(line);
    ASSERT_EQ(found.size(), 1U) << line;
    EXPECT_EQ(found[0].model, NicModel::kVirtioNetPci);
    EXPECT_EQ(found[0].mac->to_string(), "52:54:00:00:00:09");
    EXPECT_EQ(found[0].backend.fd, 3);
  }
}

TEST(NetworkOptionsTest, NetNicMayNameANetdev) {
  const auto found = nics("-netdev tap,id=a,fd=5 -net nic,netdev=a -net tap,fd=6 -net nic");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].backend.fd, 5);
  EXPECT_EQ(found[1].backend.fd, 6);
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
  EXPECT_THAT(
      warnings,
      ElementsAre("-net tap,fd=3 has no NIC and is not opened; add -device virtio-net-pci,netdev=ID"));
}

struct Refusal {
  const char* line;
  const char* message;
};

class NetworkRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(NetworkRefusalTest, IsOneClearSentence) {
  EXPECT_EQ(refusal(GetParam().line), GetParam().message);
}

constexpr const char* kFdRule =
    "ifname=, script=, downscript= and vnet_hdr= cannot be given with fd=: they were settled when the "
    "descriptor was "
    "opened";
constexpr const char* kScriptRule =
    "interface scripts are not supported yet; set the interface up beforehand and add "
    "script=no,downscript=no";
constexpr const char* kNameRule = ": an interface name has 1 to 15 characters without blanks, '/' and ':'";

INSTANTIATE_TEST_SUITE_P(
    Tap, NetworkRefusalTest,
    ::testing::Values(
        Refusal{"-netdev tap,ifname=t0",
                "id= is missing; for example tap,id=n0,ifname=tap0,script=no,downscript=no"},
        Refusal{"-netdev tap,id=1a,fd=3",
                "id=1a: an id begins with a letter and goes on with letters, digits, '-', '.' and '_'"},
        Refusal{"-netdev tap,id=,fd=3",
                "id=: an id begins with a letter and goes on with letters, digits, '-', '.' and '_'"},
        Refusal{"-netdev tap,id=a,fd=3 -netdev tap,id=a,fd=4",
                "id=a is already taken by -netdev tap,id=a,fd=3"},
        Refusal{"-netdev tap,id=a",
                "ifname= or fd= is missing; for example ifname=tap0,script=no,downscript=no"},
        Refusal{"-netdev tap,id=a,fd=3,ifname=t0", kFdRule},
        Refusal{"-netdev tap,id=a,fd=3,script=no", kFdRule},
        Refusal{"-netdev tap,id=a,fd=3,downscript=no", kFdRule},
        Refusal{"-netdev tap,id=a,fd=3,vnet_hdr=on", kFdRule},
        Refusal{"-netdev tap,id=a,fd=x",
                "fd=x: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5"},
        Refusal{"-netdev tap,id=a,fd=-1",
                "fd=-1: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5"},
        Refusal{"-netdev tap,id=a,fd=2147483648",
                "fd=2147483648: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5"},
        Refusal{"-netdev tap,id=a,ifname=t0", kScriptRule},
        Refusal{"-netdev tap,id=a,ifname=t0,downscript=no", kScriptRule},
        Refusal{"-netdev tap,id=a,ifname=t0,script=/etc/qemu-ifup,downscript=no", kScriptRule},
        Refusal{"-netdev tap,id=a,ifname=t0,script=no",
                "interface shutdown scripts are not supported yet; set the interface up beforehand and add "
                "script=no,downscript=no"},
        Refusal{"-netdev tap,id=a,ifname=t0,script=no,downscript=no,vnet_hdr=2",
                "vnet_hdr=2: the value must be on or off"},
        Refusal{"-netdev tap,id=a,ifnam=t0", "unknown key 'ifnam'; did you mean 'ifname'?"},
        Refusal{"-netdev tap,id=a,fd=3 -netdev tap,id=b,fd=3",
                "-netdev tap,id=b,fd=3: fd=3 is already used by -netdev tap,id=a,fd=3"}));

INSTANTIATE_TEST_SUITE_P(
    Types, NetworkRefusalTest,
    ::testing::Values(
        Refusal{"-netdev user,id=a", "tapir has no network backend 'user'; it has tap"},
        Refusal{"-netdev {\"type\":\"tap\"}",
                "the JSON form is not supported; write tap,id=n0,ifname=tap0,script=no,downscript=no"},
        Refusal{"-net user", "tapir has no network backend 'user'; it has tap"},
        Refusal{"-nic tap,fd=3",
                "only -nic none is supported yet; write -netdev "
                "tap,id=n0,ifname=tap0,script=no,downscript=no -device "
                "virtio-net-pci,netdev=n0"},
        Refusal{"-device virtio-net-pcie,netdev=a",
                "tapir has no device 'virtio-net-pcie'; did you mean 'virtio-net-pci'?"},
        Refusal{"-device e1000,netdev=a",
                "tapir has no device 'e1000'; it has virtio-net-pci and virtio-net-device"},
        Refusal{"-net nic,model=e1000", "tapir has no NIC model 'e1000'; use model=virtio"}));

INSTANTIATE_TEST_SUITE_P(
    Nics, NetworkRefusalTest,
    ::testing::Values(
        Refusal{
            "-device virtio-net-pci",
            "netdev= is missing; for example -netdev tap,id=n0,ifname=tap0,script=no,downscript=no -device "
            "virtio-net-pci,netdev=n0"},
        Refusal{"-netdev tap,id=net0,fd=3 -device virtio-net-pci,netdev=net1",
                "-device virtio-net-pci,netdev=net1: there is no netdev 'net1'; did you mean 'net0'?"},
        Refusal{"-device virtio-net-pci,netdev=n0",
                "-device virtio-net-pci,netdev=n0: there is no netdev 'n0'; add -netdev "
                "tap,id=n0,ifname=tap0,script=no,downscript=no"},
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
        Refusal{"-net nic",
                "-net nic: the NIC has no backend; add -net tap,ifname=tap0,script=no,downscript=no"},
        Refusal{
            "-net nic -net nic -net tap,fd=3",
            "-net joins one NIC and one backend; write each further pair as -netdev tap,id=ID,... -device "
            "virtio-net-pci,netdev=ID"}));

TEST(NetworkOptionsTest, InterfaceNamesFollowTheKernelsRules) {
  const auto with = [](const std::string& name) {
    return refusal("-netdev tap,id=a,ifname=" + name + ",script=no,downscript=no");
  };
  EXPECT_EQ(with("abcdefghijklmno"), "accepted");
  EXPECT_EQ(with("tap0.5"), "accepted");
  for (const char* const name : {"", ".", "..", "a/b", "a:b", "abcdefghijklmnop"}) {
    EXPECT_EQ(with(name), "ifname=" + std::string(name) + kNameRule);
  }
}

}  // namespace
}  // namespace tapir::vmm
