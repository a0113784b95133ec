// SPDX-License-Identifier: Apache-2.0
// make_port() while others do all they can in the meantime.
#include <gmock/gmock.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "helper/bridge_port.h"
#include "helper/testing/bridge_test.h"
#include "net/base/mapping.h"

namespace tapir::helper {
namespace {

using namespace testing;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::Eq;

// What the attackers tell the test, in memory that all share.
struct Score {
  std::atomic<bool> stop = false;
  std::atomic<unsigned> queues = 0;    ///< queues that an attacker got
  std::atomic<unsigned> breaches = 0;  ///< of a tap that is on a bridge
};

// A process of an ordinary user, be it a stranger or the one for whom the tap is, that does nothing but try
// to get a queue of the tap `name`, and to do harm with it.
class Attacker {
 public:
  Attacker(Score& score, uid_t user, const std::string& name, unsigned seed) : child_(::fork()) {
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::setresgid(user, user, user) < 0 || ::setresuid(user, user, user) < 0) {
        ::_exit(1);
      }
      for (unsigned i = seed; !score.stop; ++i) {
        attack(score, name, i);
      }
      ::_exit(0);
    }
  }
  Attacker(const Attacker&) = delete;
  Attacker& operator=(const Attacker&) = delete;
  ~Attacker() {
    int status = 0;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    EXPECT_EQ(status, 0);
  }

 private:
  static bool is_attached(int fd) {
    ifreq request{};
    return ::ioctl(fd, TUNGETIFF, &request) == 0;
  }
  static void attack(Score& score, const std::string& name, unsigned turn) {
    const auto queue = attach_queue(name);
    if (!queue) {
      return;
    }
    ++score.queues;
    const int fd = queue->get();
    // One deed or several, and sometimes away at once.
    ifreq request{};
    request.ifr_flags = IFF_DETACH_QUEUE;
    const std::array<std::function<void()>, 5> deeds{
        [fd] { ::ioctl(fd, TUNSETPERSIST, 1); },
        [fd] { ::ioctl(fd, TUNSETOWNER, static_cast<unsigned long>(kStranger)); },
        [fd] { ::ioctl(fd, TUNSETGROUP, static_cast<unsigned long>(kStranger)); },
        [fd, &request] { ::ioctl(fd, TUNSETQUEUE, &request); },
        [fd] {
          ifreq address{};
          ::ioctl(fd, SIOCGIFHWADDR, &address);
          address.ifr_hwaddr.sa_data[5] ^= 1;
          ::ioctl(fd, SIOCSIFHWADDR, &address);
        }};
    for (std::size_t i = 0; i < deeds.size(); ++i) {
      if ((turn >> i & 1U) != 0) {
        deeds[i]();
      }
    }
    // It is the same tap as long as this descriptor is attached to one.
    for (int i = 0; (turn & 32U) != 0 && i < 1000 && is_attached(fd); ++i) {
      if (::access(("/sys/class/net/" + name + "/brport").c_str(), F_OK) == 0 && is_attached(fd)) {
        ++score.breaches;
      }
    }
  }

  pid_t child_;
};

class PortRaceTest : public BridgeTest {
 protected:
  void SetUp() override {
    BridgeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    make_bridge("br0");
    memory_ =
        Mapping(::mmap(nullptr, sizeof(Score), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
                sizeof(Score));
    score_ = new (memory_.address()) Score;
  }
  static PortRequest request_of(unsigned queues) {
    PortRequest request{.bridge = "br0", .owner = kOwner, .queues = queues, .guest_mac = {}, .policy = {}};
    request.policy.limit = 1;
    return request;
  }
  // Makes ports with the one name that a limit of 1 leaves, and looks at each that was made.
  unsigned make_ports_under_attack(unsigned queues, const std::string& tap) {
    const Attacker first(*score_, kStranger, tap, 0);
    const Attacker second(*score_, kOwner, tap, 17);
    unsigned made = 0;
    // Long enough, and until they got in at least once where they can.
    const auto start = std::chrono::steady_clock::now();
    for (auto age = 0ns; age < 5s || (queues > 1 && score_->queues == 0 && age < 60s);
         age = std::chrono::steady_clock::now() - start) {
      auto port = make_port(request_of(queues));
      if (!port) {
        EXPECT_EQ(port.error().code(), EBUSY) << port.error().message();
        continue;
      }
      ++made;
      EXPECT_EQ(port->tap, tap);
      const auto link = read_link(*netlink_, port->index);
      if (!link || !link->tun) {
        ADD_FAILURE() << "there is no tap";
        continue;
      }
      EXPECT_EQ(link->tun->owner, uid_t{0});
      EXPECT_EQ(link->tun->group, std::nullopt);
      EXPECT_FALSE(link->tun->persistent);
      EXPECT_EQ(link->tun->queues, queues > 1 ? queues : 0);
      EXPECT_EQ(link->tun->disabled_queues, 0U);
      // The limit is reached, whatever the others do.
      const auto more = make_port(request_of(queues));
      EXPECT_TRUE(!more && more.error().code() == EUSERS);
    }
    score_->stop = true;
    return made;
  }

  Mapping memory_;
  Score* score_ = nullptr;
  std::optional<Netlink> netlink_;
};

TEST_F(PortRaceTest, NobodyHasAQueueOfAPortBeforeItIsHandedOver) {
  netlink_ = Netlink::open().value();
  const std::string tap = make_port(request_of(3)).value().tap;
  EXPECT_GT(make_ports_under_attack(3, tap), 0U);
  // They did get in while the taps were made, so this test is about something.
  EXPECT_GT(score_->queues, 0U);
  EXPECT_EQ(score_->breaches, 0U);
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
  RecordProperty("queues", static_cast<int>(score_->queues));
}

TEST_F(PortRaceTest, NobodyEverHasAQueueOfATapWithOne) {
  netlink_ = Netlink::open().value();
  const std::string tap = make_port(request_of(1)).value().tap;
  EXPECT_GT(make_ports_under_attack(1, tap), 0U);
  EXPECT_EQ(score_->queues, 0U);
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
}

// What happens to interfaces, in the order in which it does (rtnetlink(7), RTMGRP_LINK).
class LinkMonitor {
 public:
  LinkMonitor() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)) {
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  // The next event; nothing if there was none since.
  std::optional<NetlinkLink> next() const {
    std::vector<std::byte> message(16384);
    const ssize_t size = ::recv(socket_.get(), message.data(), message.size(), 0);
    if (size < 0) {
      EXPECT_EQ(errno, EAGAIN);
      return std::nullopt;
    }
    message.resize(static_cast<std::size_t>(size));
    message.erase(message.begin(), message.begin() + NLMSG_HDRLEN);
    return NetlinkLink(std::move(message));
  }

 private:
  UniqueFd socket_;
};

// Whether the bridge was called something else when it got its first port. Takes all events.
bool got_port_under_other_name(const LinkMonitor& monitor, int bridge, std::string name) {
  const std::string own = name;
  bool found = false;
  bool ported = false;
  while (const auto event = monitor.next()) {
    const NetlinkAttributes attributes = event->attributes();
    if (event->header().ifi_family != AF_UNSPEC) {
      continue;
    }
    if (event->header().ifi_index == bridge) {
      name = attributes.text(IFLA_IFNAME);
    } else if (!ported && attributes.get<std::int32_t>(IFLA_MASTER) == bridge) {
      ported = true;
      found = name != own;
    }
  }
  return found;
}

void rename(const std::string& from, const std::string& to) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  from.copy(request.ifr_name, IFNAMSIZ - 1);
  to.copy(request.ifr_newname, IFNAMSIZ - 1);
  EXPECT_EQ(::ioctl(socket.get(), SIOCSIFNAME, &request), 0) << errno;
}

// HLP-13
TEST_F(PortRaceTest, ABridgeGetsAPortUnderItsOwnNameOnly) {
  run("ip link set br0 down");
  const int bridge = static_cast<int>(::if_nametoindex("br0"));
  const LinkMonitor monitor;
  auto delay = 0us;
  unsigned made = 0;
  unsigned caught = 0;
  unsigned not_found = 0;
  for (int i = 0; i < 400; ++i) {
    std::atomic<bool> ready = false;
    std::thread renamer([delay, &ready] {
      ready = true;
      const auto start = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - start < delay) {
      }
      rename("br0", "hidden");
    });
    while (!ready) {
    }
    auto port = make_port(request_of(1));
    renamer.join();
    const bool under_other_name = got_port_under_other_name(monitor, bridge, "br0");
    rename("hidden", "br0");
    const int code = port ? 0 : port.error().code();
    port = fail("closed");
    static_cast<void>(got_port_under_other_name(monitor, bridge, "br0"));
    EXPECT_THAT(code, AnyOf(Eq(0), Eq(ESTALE), Eq(ENODEV)));
    EXPECT_FALSE(code == 0 && under_other_name);
    made += code == 0 ? 1U : 0U;
    caught += code == ESTALE ? 1U : 0U;
    not_found += code == ENODEV ? 1U : 0U;
    // Towards the moment between the two.
    delay += code == ENODEV ? delay / 4 + 10us : code == 0 ? -delay / 8 : 0us;
  }
  EXPECT_GT(made, 0U);
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
  RecordProperty("made", static_cast<int>(made));
  RecordProperty("caught", static_cast<int>(caught));
  RecordProperty("not_found", static_cast<int>(not_found));
}

}  // namespace
}  // namespace tapir::helper
