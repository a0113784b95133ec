// SPDX-License-Identifier: Apache-2.0
#include "helper/tap_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "helper/testing/bridge_test.h"
#include "net/testing/network_namespace.h"

namespace tapir::helper {
namespace {

using namespace testing;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A tap between its steps, and a stranger: another user, without capabilities.
class TapDeviceTest : public BridgeTest {
 protected:
  static TapDevice create(unsigned queues) {
    auto tap = TapDevice::create({.owner = kOwner, .queues = queues});
    EXPECT_TRUE(tap) << tap.error().message();
    return *std::move(tap);
  }
  // The errno of an attempt to get a queue of it.
  static int attach_as(uid_t uid, const std::string& name, UniqueFd& queue) {
    int code = 0;
    as_user(uid, [&] {
      auto attached = attach_queue(name);
      code = attached ? 0 : attached.error().code();
      queue = attached ? *std::move(attached) : UniqueFd();
    });
    return code;
  }
  static int check_code(const TapDevice& tap) {
    Netlink netlink = Netlink::open().value();
    const auto link = tap.find(netlink);
    EXPECT_TRUE(link) << link.error().message();
    const auto status = tap.check(*link);
    return status ? 0 : status.error().code();
  }
  // What check() says of a tap that a stranger had a queue of, did `deed` to after it was claimed, and left.
  static int check_code_after(const std::function<int(int)>& deed) {
    TapDevice tap = create(2);
    UniqueFd stranger;
    EXPECT_EQ(attach_as(kStranger, tap.name(), stranger), 0);
    EXPECT_TRUE(tap.claim());
    as_user(kStranger, [&] { EXPECT_EQ(deed(stranger.get()), 0) << errno; });
    stranger.reset();
    EXPECT_TRUE(tap.add_queues(2));
    return check_code(tap);
  }
};

TEST_F(TapDeviceTest, IsOursAloneWhenNobodyInterferes) {
  for (const unsigned queues : {1U, 2U, 256U}) {
    TapDevice tap = create(queues);
    ASSERT_TRUE(tap.claim());
    ASSERT_TRUE(tap.add_queues(queues));
    EXPECT_EQ(check_code(tap), 0) << queues;
    EXPECT_EQ(sysfs(tap.name(), "owner"), "0");
    EXPECT_EQ(sysfs(tap.name(), "address").substr(0, 3), "fe:");
  }
  EXPECT_THAT(interfaces(), ElementsAre("lo"));
}

TEST_F(TapDeviceTest, HasAnAddressOfItsOwn) {
  TapDevice first = create(1);
  TapDevice second = create(1);
  ASSERT_TRUE(first.claim() && second.claim());
  EXPECT_NE(sysfs(first.name(), "address"), sysfs(second.name(), "address"));
}

TEST_F(TapDeviceTest, MoreQueuesThanTheKernelHasAreAnError) {
  TapDevice tap = create(257);
  ASSERT_TRUE(tap.claim());
  const auto status = tap.add_queues(257);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("queue 257 of 257"));
}

TEST_F(TapDeviceTest, OneQueueIsNeverOpenToStrangers) {
  TapDevice tap = create(1);
  UniqueFd stranger;
  EXPECT_EQ(attach_as(kStranger, tap.name(), stranger), EINVAL);  // as a multi-queue tap
  as_user(kStranger, [&] {
    const UniqueFd fd(::open("/dev/net/tun", O_RDWR));
    ifreq request{};
    tap.name().copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    EXPECT_EQ(::ioctl(fd.get(), TUNSETIFF, &request), -1);
    EXPECT_EQ(errno, EBUSY);
  });
}

TEST_F(TapDeviceTest, AStrangerGetsAQueueOnlyBeforeTheTapIsClaimed) {
  TapDevice tap = create(2);
  UniqueFd before;
  UniqueFd after;
  EXPECT_EQ(attach_as(kStranger, tap.name(), before), 0);
  ASSERT_TRUE(tap.claim());
  EXPECT_EQ(attach_as(kStranger, tap.name(), after), EPERM);
  ASSERT_TRUE(tap.add_queues(2));
  EXPECT_EQ(check_code(tap), EBUSY);
}

TEST_F(TapDeviceTest, AStrangersQueueInPlaceOfOursIsNoticed) {
  TapDevice tap = create(2);
  UniqueFd stranger;
  EXPECT_EQ(attach_as(kStranger, tap.name(), stranger), 0);
  ASSERT_TRUE(tap.claim());
  EXPECT_EQ(check_code(tap), EBUSY);  // two queues, and one is ours
}

TEST_F(TapDeviceTest, AQueueThatIsSwitchedOffIsNoticed) {
  TapDevice tap = create(2);
  UniqueFd stranger;
  EXPECT_EQ(attach_as(kStranger, tap.name(), stranger), 0);
  ASSERT_TRUE(tap.claim());
  as_user(kStranger, [&] {
    ifreq request{};
    request.ifr_flags = IFF_DETACH_QUEUE;
    EXPECT_EQ(::ioctl(stranger.get(), TUNSETQUEUE, &request), 0);
  });
  ASSERT_TRUE(tap.add_queues(2));
  EXPECT_EQ(check_code(tap), EBUSY);
}

TEST_F(TapDeviceTest, AStrangerWhoCameAndWentIsNoMatter) {
  EXPECT_EQ(check_code_after([](int) { return 0; }), 0);
}

TEST_F(TapDeviceTest, WhatAStrangerLeftBehindIsNoticed) {
  EXPECT_EQ(check_code_after([](int fd) { return ::ioctl(fd, TUNSETOWNER, kStranger); }), EBUSY);
  EXPECT_EQ(check_code_after([](int fd) { return ::ioctl(fd, TUNSETGROUP, kStranger); }), EBUSY);
  EXPECT_EQ(check_code_after([](int fd) { return ::ioctl(fd, TUNSETPERSIST, 1); }), EBUSY);
  EXPECT_EQ(check_code_after([](int fd) { return ::ioctl(fd, TUNSETLINK, ARPHRD_PPP); }), EBUSY);
  EXPECT_EQ(check_code_after([](int fd) {
              ifreq request{};
              const std::array<char, 6> address{0x00, 0x11, 0x22, 0x33, 0x44, 0x55};
              std::copy(address.begin(), address.end(), request.ifr_hwaddr.sa_data);
              request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
              return ::ioctl(fd, SIOCSIFHWADDR, &request);
            }),
            EBUSY);
}

// A program that lets nothing through.
UniqueFd load_dropping_program() {
  const std::array instructions{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<std::uintptr_t>(instructions.data());
  attributes.insn_cnt = instructions.size();
  attributes.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
  return UniqueFd(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
}

// Whether a frame from the host comes out of any of the queues.
bool frames_arrive(const TapDevice& tap, std::chrono::milliseconds patience) {
  Host(tap.name()).send(make_frame(kBroadcast, guest_address(1), 0));
  return is_readable(tap.queues(), patience);
}

// Each must be enough by itself, so each is undone by itself.
TEST_F(TapDeviceTest, NoFilterOfAStrangerStays) {
  const UniqueFd program = load_dropping_program();
  ASSERT_TRUE(program) << errno;
  std::array<sock_filter, 1> drop_all{{BPF_STMT(BPF_RET | BPF_K, 0)}};
  sock_fprog filter{1, drop_all.data()};
  // struct tun_filter: flags, the number of addresses, and this one.
  struct {
    std::uint16_t flags = 0;
    std::uint16_t count = 1;
    std::array<std::uint8_t, 6> only_address{2, 0, 0, 0, 0, 2};
  } addresses;
  int program_fd = program.get();
  const std::array<std::pair<unsigned long, void*>, 3> filters{
      std::pair<unsigned long, void*>{TUNSETFILTEREBPF, &program_fd},
      {TUNATTACHFILTER, &filter},
      {TUNSETTXFILTER, &addresses}};
  for (const auto& [request, value] : filters) {
    TapDevice tap = create(2);
    UniqueFd stranger;
    EXPECT_EQ(attach_as(kStranger, tap.name(), stranger), 0);
    ASSERT_TRUE(tap.claim());
    ASSERT_TRUE(tap.add_queues(2));
    as_user(kStranger, [&, number = request, argument = value] {
      EXPECT_GE(::ioctl(stranger.get(), number, argument), 0) << errno;
    });
    stranger.reset();
    ASSERT_EQ(check_code(tap), 0);
    run("ip link set " + tap.name() + " up");
    EXPECT_FALSE(frames_arrive(tap, 100ms)) << request;
    ASSERT_TRUE(tap.forget_settings());
    EXPECT_TRUE(frames_arrive(tap, 2s)) << request;
  }
}

TEST_F(TapDeviceTest, NoSettingOfAStrangerStays) {
  TapDevice tap = create(2);
  UniqueFd stranger;
  EXPECT_EQ(attach_as(kStranger, tap.name(), stranger), 0);
  as_user(kStranger, [&] {
    int header_bytes = 100;
    int send_buffer = 1;
    int no_carrier = 0;
    EXPECT_EQ(::ioctl(stranger.get(), TUNSETVNETHDRSZ, &header_bytes), 0);
    EXPECT_EQ(::ioctl(stranger.get(), TUNSETSNDBUF, &send_buffer), 0);
    EXPECT_EQ(::ioctl(stranger.get(), TUNSETOFFLOAD, TUN_F_CSUM), 0);
    EXPECT_EQ(::ioctl(stranger.get(), TUNSETCARRIER, &no_carrier), 0);
  });
  stranger.reset();
  ASSERT_TRUE(tap.claim());
  ASSERT_TRUE(tap.add_queues(2));
  ASSERT_EQ(check_code(tap), 0);
  run("ip link set " + tap.name() + " up");
  EXPECT_EQ(sysfs(tap.name(), "carrier"), "0");
  const std::string checksum = "ethtool -k " + tap.name() + " | grep tx-checksum-ip-generic";
  EXPECT_THAT(run(checksum), HasSubstr("on"));

  ASSERT_TRUE(tap.forget_settings());
  EXPECT_EQ(sysfs(tap.name(), "carrier"), "1");
  EXPECT_THAT(run(checksum), HasSubstr("off"));
  for (const UniqueFd& queue : tap.queues()) {
    int header_bytes = 0;
    EXPECT_EQ(::ioctl(queue.get(), TUNGETVNETHDRSZ, &header_bytes), 0);
    EXPECT_EQ(header_bytes, 10);
    int send_buffer = 0;
    EXPECT_EQ(::ioctl(queue.get(), TUNGETSNDBUF, &send_buffer), 0);
    EXPECT_EQ(send_buffer, INT_MAX);
  }
}

TEST_F(TapDeviceTest, ATapThatWasRenamedMeanwhileIsNotTaken) {
  TapDevice tap = create(2);
  ASSERT_TRUE(tap.claim());
  run("ip link set " + tap.name() + " name other");
  ASSERT_TRUE(tap.add_queues(2));  // which makes a new one
  Netlink netlink = Netlink::open().value();
  const auto link = tap.find(netlink);
  ASSERT_FALSE(link);
  EXPECT_THAT(link.error().message(), HasSubstr("renamed"));
}

TEST_F(TapDeviceTest, ATapThatWasDeletedMeanwhileIsNotTaken) {
  TapDevice tap = create(1);
  ASSERT_TRUE(tap.claim());
  run("ip link del " + tap.name());
  Netlink netlink = Netlink::open().value();
  const auto link = tap.find(netlink);
  ASSERT_FALSE(link);
  EXPECT_THAT(link.error().message(), HasSubstr("taken away"));
}

TEST_F(TapDeviceTest, WithoutTheCapabilityTheRemedyIsNamed) {
  as_user(kStranger, [] {
    const auto tap = TapDevice::create({.owner = kStranger});
    ASSERT_FALSE(tap);
    EXPECT_EQ(tap.error().code(), EPERM);
    EXPECT_THAT(tap.error().message(), HasSubstr("CAP_NET_ADMIN"));
    EXPECT_THAT(tap.error().message(), HasSubstr("no_new_privs"));
  });
}

TEST_F(TapDeviceTest, WithoutTheDeviceNodeTheRemedyIsNamed) {
  ASSERT_TRUE(net::testing::remove_tun_device());
  const auto tap = TapDevice::create({.owner = kOwner});
  ASSERT_FALSE(tap);
  EXPECT_THAT(tap.error().message(), HasSubstr("modprobe tun"));
}

TEST_F(TapDeviceTest, HasAVnetHeaderWhenAsked) {
  for (const bool vnet_header : {false, true}) {
    auto tap = TapDevice::create({.owner = kOwner, .vnet_header = vnet_header});
    ASSERT_TRUE(tap);
    ifreq request{};
    const int queue = tap->queues().front().get();
    ASSERT_EQ(::ioctl(queue, TUNGETIFF, &request), 0);
    EXPECT_EQ((request.ifr_flags & IFF_VNET_HDR) != 0, vnet_header);
    EXPECT_EQ(request.ifr_flags & IFF_PERSIST, 0);
    EXPECT_EQ(::fcntl(queue, F_GETFD), FD_CLOEXEC);
  }
}

}  // namespace
}  // namespace tapir::helper
