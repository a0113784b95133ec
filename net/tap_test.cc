// SPDX-License-Identifier: Apache-2.0
#include "net/tap.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/offload.h"
#include "net/tap_interface.h"
#include "net/testing/network_namespace.h"

namespace tapir::net {
namespace {

using net::testing::make_persistent_tap;
using net::testing::run_as;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

class TapTest : public ::testing::Test {
 protected:
  void SetUp() override { TAPIR_ENTER_NETWORK_NAMESPACE(); }

  static std::string open_error(const std::string& name, const TapOptions& options = {}) {
    const auto tap = Tap::open(name, options);
    return tap ? "no error" : tap.error().message();
  }
  static std::string adopt_error(int fd, const TapOptions& options = {}) {
    const auto tap = Tap::adopt(fd, options);
    return tap ? "no error" : tap.error().message();
  }
  // A descriptor as another program would pass it on.
  static UniqueFd attached(const std::string& name, int flags) {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(flags);
    EXPECT_EQ(::ioctl(fd.get(), TUNSETIFF, &request), 0);
    return fd;
  }
};

TEST_F(TapTest, AttachesToAnExistingTap) {
  ASSERT_TRUE(make_persistent_tap("t0"));
  const auto tap = Tap::open("t0", {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->name(), "t0");
  EXPECT_FALSE(tap->created());
  EXPECT_TRUE(tap->features().vnet_header);
  EXPECT_EQ(tap->features().mtu, 1500);
  EXPECT_EQ(tap->features().offloads & kTunOffloadsBeforeUso, kTunOffloadsBeforeUso);
  EXPECT_NE(::fcntl(tap->fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(tap->fd(), F_GETFD), FD_CLOEXEC);
  int header_bytes = 0;
  ASSERT_EQ(::ioctl(tap->fd(), TUNGETVNETHDRSZ, &header_bytes), 0);
  EXPECT_EQ(header_bytes, 12);
}

TEST_F(TapTest, KernelChoosesTheNameWhenThereIsNone) {
  ASSERT_TRUE(make_persistent_tap("tap0"));
  const auto tap = Tap::open("", {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->name(), "tap1");
  EXPECT_TRUE(tap->created());
  EXPECT_EQ(tap->features().mtu, 1500);
}

TEST_F(TapTest, AnAttachedTapMayBeBroughtUpBeforeItIsReady) {
  ASSERT_TRUE(make_persistent_tap("t0", {.up = false}));
  auto tap = Tap::attach("t0", {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_THAT(tap->make_ready().error().message(), HasSubstr("tap 't0' is down"));
  ASSERT_TRUE(net::testing::set_link_up("t0", true));
  ASSERT_TRUE(net::testing::set_link_mtu("t0", 9000));
  ASSERT_TRUE(tap->make_ready());
  EXPECT_EQ(tap->features().mtu, 9000);
}

int send_buffer_with(std::optional<std::uint64_t> asked) {
  TapOptions options;
  options.send_buffer = asked;
  const auto tap = Tap::open("t0", options);
  int bytes = -1;
  return tap && ::ioctl(tap->fd(), TUNGETSNDBUF, &bytes) == 0 ? bytes : -1;
}

TEST_F(TapTest, SendBufferIsSetOnRequestOnly) {
  EXPECT_EQ(send_buffer_with(std::nullopt), INT_MAX);
  EXPECT_EQ(send_buffer_with(1048576), 1048576);
  EXPECT_EQ(send_buffer_with(0), INT_MAX);
  EXPECT_EQ(send_buffer_with(UINT64_MAX), INT_MAX);
}

TEST_F(TapTest, FurtherQueuesAreLikeTheFirst) {
  TapOptions options;
  options.multi_queue = true;
  const auto tap = Tap::open("t0", options);
  ASSERT_TRUE(tap) << tap.error().message();
  const auto queue = tap->open_queue();
  ASSERT_TRUE(queue) << queue.error().message();
  EXPECT_NE(::fcntl(queue->get(), F_GETFL) & O_NONBLOCK, 0);
  ifreq request{};
  ASSERT_EQ(::ioctl(queue->get(), TUNGETIFF, &request), 0);
  EXPECT_STREQ(request.ifr_name, "t0");
  EXPECT_EQ(request.ifr_flags & (IFF_VNET_HDR | IFF_MULTI_QUEUE), IFF_VNET_HDR | IFF_MULTI_QUEUE);
}

TEST_F(TapTest, ATapOfOneQueueCannotHaveMore) {
  ASSERT_TRUE(make_persistent_tap("t0"));
  TapOptions options;
  options.multi_queue = true;
  EXPECT_THAT(open_error("t0", options),
              AllOf(HasSubstr("tap 't0' has one queue only; leave out queues="), HasSubstr("multi_queue`")));
}

TEST_F(TapTest, LeavesAnExistingTapBehind) {
  ASSERT_TRUE(make_persistent_tap("t0"));
  ASSERT_TRUE(Tap::open("t0", {}));
  EXPECT_NE(::if_nametoindex("t0"), 0U);
}

TEST_F(TapTest, ACreatedTapIsUpAndVanishesWhenClosed) {
  {
    const auto tap = Tap::open("t0", {});
    ASSERT_TRUE(tap) << tap.error().message();
    EXPECT_TRUE(tap->created());
    EXPECT_TRUE(tap_is_up(tap->fd()));
    EXPECT_NE(::if_nametoindex("t0"), 0U);
  }
  EXPECT_EQ(::if_nametoindex("t0"), 0U);
}

TEST_F(TapTest, KnowsTheMtu) {
  ASSERT_TRUE(make_persistent_tap("t0"));
  ASSERT_TRUE(net::testing::set_link_mtu("t0", 65521));
  EXPECT_EQ(Tap::open("t0", {}).value().features().mtu, 65521);
}

TEST_F(TapTest, HasNoOffloadsWithoutAVnetHeader) {
  ASSERT_TRUE(make_persistent_tap("t0"));
  const auto tap = Tap::open("t0", {.vnet_header = false});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_FALSE(tap->features().vnet_header);
  EXPECT_EQ(tap->features().offloads, 0U);
  ifreq request{};
  ASSERT_EQ(::ioctl(tap->fd(), TUNGETIFF, &request), 0);
  EXPECT_EQ(request.ifr_flags & IFF_VNET_HDR, 0);
}

TEST_F(TapTest, AttachesToAMultiQueueTap) {
  ASSERT_TRUE(make_persistent_tap("t0", {.multi_queue = true}));
  const auto tap = Tap::open("t0", {});
  EXPECT_TRUE(tap) << tap.error().message();
}

TEST_F(TapTest, ATapInUseIsNamed) {
  ASSERT_TRUE(make_persistent_tap("t0"));
  const auto first = Tap::open("t0", {});
  ASSERT_TRUE(first);
  EXPECT_EQ(open_error("t0"),
            "tap 't0' is in use by another process; end that one, or give each VM a tap of its own");
}

TEST_F(TapTest, ATapThatIsDownIsNamedWithTheRemedy) {
  ASSERT_TRUE(make_persistent_tap("t0", {.up = false}));
  EXPECT_EQ(open_error("t0"), "tap 't0' is down; bring it up with `ip link set t0 up`");
}

TEST_F(TapTest, AnInterfaceThatIsNoTapIsNamed) {
  ASSERT_TRUE(make_persistent_tap("tun0", {.tun = true}));
  EXPECT_THAT(open_error("lo"), HasSubstr("interface 'lo' is no tap"));
  EXPECT_THAT(open_error("tun0"), HasSubstr("interface 'tun0' is no tap"));
}

TEST_F(TapTest, ABadNameNeverReachesTheKernel) {
  EXPECT_THAT(open_error("t%d"), HasSubstr("'%'"));
  EXPECT_EQ(::if_nametoindex("t0"), 0U);
}

TEST_F(TapTest, AdoptsADescriptorAsItIs) {
  for (const bool vnet_header : {false, true}) {
    const UniqueFd keeps_it = attached("t0", IFF_TAP | IFF_NO_PI | (vnet_header ? IFF_VNET_HDR : 0));
    ASSERT_TRUE(net::testing::set_link_up("t0", true));
    const auto tap = Tap::adopt(::dup(keeps_it.get()), {});
    ASSERT_TRUE(tap) << tap.error().message();
    EXPECT_EQ(tap->name(), "t0");
    EXPECT_EQ(tap->features().vnet_header, vnet_header);
    EXPECT_EQ(tap->features().offloads != 0, vnet_header);
    EXPECT_EQ(tap->features().mtu, 1500);
    EXPECT_NE(::fcntl(tap->fd(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(::fcntl(tap->fd(), F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(TapTest, AdoptsATapOfAnotherNamespaceWithoutItsMtu) {
  UniqueFd fd = attached("t0", IFF_TAP | IFF_NO_PI);
  ASSERT_TRUE(net::testing::set_link_up("t0", true));
  ASSERT_TRUE(net::testing::enter_network_namespace());
  ASSERT_TRUE(make_persistent_tap("t0"));  // another one of this name
  const auto tap = Tap::adopt(fd.release(), {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->features().mtu, 0);
}

TEST_F(TapTest, AdoptsATapThatIsDownWithAWarning) {
  UniqueFd fd = attached("t0", IFF_TAP | IFF_NO_PI);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(Tap::adopt(fd.release(), {}));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("`ip link set t0 up`"));
}

TEST_F(TapTest, ADescriptorThatIsNoTapIsLeftAloneAndNamed) {
  const UniqueFd null(::open("/dev/null", O_RDWR));
  EXPECT_THAT(adopt_error(null.get()),
              AllOf(HasSubstr("fd=" + std::to_string(null.get())), HasSubstr("is no tap")));
  EXPECT_GE(::fcntl(null.get(), F_GETFD), 0);
  EXPECT_EQ(::fcntl(null.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(TapTest, EveryWrongDescriptorHasItsSentence) {
  const UniqueFd unattached(::open("/dev/net/tun", O_RDWR));
  const UniqueFd tun = attached("tun0", IFF_TUN | IFF_NO_PI);
  const UniqueFd plain = attached("t0", IFF_TAP | IFF_NO_PI);
  const UniqueFd with_header = attached("t1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  EXPECT_THAT(adopt_error(unattached.get()), HasSubstr("no tap is attached"));
  EXPECT_THAT(adopt_error(tun.get()), HasSubstr("'tun0' is a tun"));
  EXPECT_THAT(adopt_error(plain.get(), {.vnet_header = true}), HasSubstr("vnet_hdr=on: tap 't0'"));
  EXPECT_THAT(adopt_error(with_header.get(), {.vnet_header = false}), HasSubstr("vnet_hdr=off: tap 't1'"));
}

// A UDP datagram from `source_port`, as the kernel's flow hash sees it; nobody checks its sums.
std::vector<std::byte> datagram(unsigned source_port) {
  constexpr std::size_t kIp = 12 + 14;  // after the vnet header and the Ethernet header
  std::vector<std::byte> frame(kIp + 20 + 8 + 18);
  const auto put = [&frame](std::size_t at, std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) {
      frame[at++] = static_cast<std::byte>(byte);
    }
  };
  put(12, {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x08, 0x00});
  put(kIp, {0x45, 0, 0, 20 + 8 + 18, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2});
  put(kIp + 20, {source_port >> 8U, source_port & 0xFFU, 0, 9, 0, 8 + 18});
  return frame;
}

// How many frames wait in a queue.
int drain(int fd) {
  std::array<std::byte, 2048> frame{};
  int count = 0;
  while (::read(fd, frame.data(), frame.size()) > 0) {
    ++count;
  }
  return count;
}

TEST_F(TapTest, ADetachedQueueGetsNoFrames) {
  constexpr int kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  constexpr int kFrames = 64;
  UniqueFd first = attached("t0", kFlags);
  const UniqueFd second = attached("t0", kFlags);
  ASSERT_EQ(::fcntl(second.get(), F_SETFL, O_NONBLOCK), 0);
  ASSERT_TRUE(net::testing::set_link_up("t0", true));
  const auto tap = Tap::adopt(first.get(), {});
  ASSERT_TRUE(tap) << tap.error().message();
  static_cast<void>(first.release());
  const auto host = net::testing::PacketSocket::open("t0");
  ASSERT_TRUE(host) << host.error().message();
  const auto send_all = [&host] {
    for (unsigned port = 1; port <= kFrames; ++port) {
      ASSERT_TRUE(host->send(datagram(port)));
    }
  };
  // The flows are spread over both queues at first.
  send_all();
  EXPECT_EQ(drain(tap->fd()) + drain(second.get()), kFrames);
  send_all();
  EXPECT_LT(drain(tap->fd()), kFrames);

  ASSERT_TRUE(Tap::detach_queue(second.get()));
  send_all();
  EXPECT_EQ(drain(tap->fd()), kFrames);
  EXPECT_EQ(drain(second.get()), 0);
  EXPECT_THAT(Tap::detach_queue(second.get()).error().message(), HasSubstr("cannot detach this queue"));

  ASSERT_TRUE(Tap::attach_queue(second.get()));
  EXPECT_THAT(Tap::attach_queue(second.get()).error().message(), HasSubstr("cannot attach this queue"));
  // Those that have a queue by now stay with it; others are spread anew.
  for (unsigned port = 1; port <= kFrames; ++port) {
    ASSERT_TRUE(host->send(datagram(1000 + port)));
  }
  const int first_got = drain(tap->fd());
  EXPECT_LT(first_got, kFrames);
  EXPECT_EQ(first_got + drain(second.get()), kFrames);
}

TEST_F(TapTest, TheOnlyQueueIsNotDetached) {
  const UniqueFd fd = attached("t0", IFF_TAP | IFF_NO_PI);
  EXPECT_THAT(
      Tap::detach_queue(fd.get()).error().message(),
      HasSubstr("fd=" + std::to_string(fd.get()) + ": cannot detach this queue of a multi-queue tap"));
}

TEST_F(TapTest, OnlyAnInheritedDescriptorGoesByItsNumber) {
  UniqueFd fd = attached("t0", IFF_TAP | IFF_NO_PI);
  ASSERT_TRUE(net::testing::set_link_up("t0", true));
  ASSERT_EQ(::fcntl(fd.get(), F_SETFD, FD_CLOEXEC), 0);  // as if opened by ourselves
  for (const int number : {fd.get(), 9999}) {
    const auto refused = Tap::adopt_inherited(number, {});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message(),
                HasSubstr("fd=" + std::to_string(number) + ": no descriptor with this number is open"));
  }
  ASSERT_EQ(::fcntl(fd.get(), F_SETFD, 0), 0);
  const auto tap = Tap::adopt_inherited(fd.get(), {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->fd(), fd.release());
  EXPECT_EQ(tap->name(), "t0");
}

// As an ordinary user, on a device node that everybody may open, as udev makes it.
class UnprivilegedTapTest : public TapTest {
 protected:
  void SetUp() override {
    TapTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (auto status = net::testing::set_tun_device_mode(0666); !status) {
      TAPIR_SKIP_TEST(status.error().message());
    }
  }
  static std::string open_error_of_nobody(const std::string& name) {
    return run_as(kNobody, [&name] { return open_error(name); });
  }
};

TEST_F(UnprivilegedTapTest, OpensATapOfItsOwn) {
  ASSERT_TRUE(make_persistent_tap("t0", {.owner = kNobody}));
  EXPECT_EQ(open_error_of_nobody("t0"), "no error");
}

TEST_F(UnprivilegedTapTest, IsToldTheOwnerOfAnotherUsersTap) {
  ASSERT_TRUE(make_persistent_tap("t0", {.owner = 4711}));
  EXPECT_THAT(open_error_of_nobody("t0"), HasSubstr("tap 't0' belongs to uid 4711 and this is uid 65534; "));
}

TEST_F(UnprivilegedTapTest, IsToldTheGroupOfATapForOthers) {
  ASSERT_TRUE(make_persistent_tap("t0", {.group = 4711}));
  EXPECT_THAT(open_error_of_nobody("t0"), HasSubstr("tap 't0' is for members of group 4711 only"));
}

TEST_F(UnprivilegedTapTest, IsToldHowToMakeATap) {
  EXPECT_EQ(open_error_of_nobody("t0"),
            "there is no tap 't0', and making one takes CAP_NET_ADMIN; create it with "
            "`ip tuntap add dev t0 mode tap user 65534` and `ip link set t0 up`");
}

TEST_F(UnprivilegedTapTest, IsToldThatATapIsDown) {
  ASSERT_TRUE(make_persistent_tap("t0", {.owner = kNobody, .up = false}));
  EXPECT_THAT(open_error_of_nobody("t0"), HasSubstr("tap 't0' is down"));
}

TEST_F(UnprivilegedTapTest, IsToldWhenTheDeviceNodeIsClosedToIt) {
  ASSERT_TRUE(net::testing::set_tun_device_mode(0600));
  EXPECT_THAT(open_error_of_nobody("t0"), HasSubstr("uid 65534 may not open /dev/net/tun"));
}

TEST_F(UnprivilegedTapTest, IsToldWhenThereIsNoDeviceNode) {
  ASSERT_TRUE(net::testing::remove_tun_device());
  EXPECT_THAT(open_error_of_nobody("t0"), HasSubstr("/dev/net/tun does not exist"));
}

TEST_F(TapTest, ADeletedTapIsNotAdopted) {
  const UniqueFd fd = attached("t0", IFF_TAP | IFF_NO_PI);
  ASSERT_TRUE(net::testing::delete_link("t0"));
  EXPECT_THAT(adopt_error(fd.get()), HasSubstr("deleted"));
}

}  // namespace
}  // namespace tapir::net
