// SPDX-License-Identifier: Apache-2.0
#include "net/bridge_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "net/base/scope_exit.h"
#include "net/testing/helper_directory.h"

namespace tapir::net {
namespace {

using namespace std::chrono_literals;
using net::testing::has_no_children;
using net::testing::HelperDirectory;
using net::testing::open_descriptors;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// Helpers that make no tap, for which no privilege is needed; those that do are in bridge_client_net_test.cc.
class BridgeClientTest : public ::testing::Test {
 protected:
  void SetUp() override { before_ = open_descriptors(); }
  void TearDown() override {
    EXPECT_EQ(open_descriptors(), before_);
    EXPECT_TRUE(has_no_children());
  }

  static Error refusal(const BridgeRequest& request) {
    auto taps = request_taps(request);
    return taps ? Error("no error") : std::move(taps).error();
  }
  // For helpers of which only matters what they were given.
  static void run_in_vain(const BridgeRequest& request) {
    EXPECT_THAT(refusal(request).message(), EndsWith("exited with status 0 but sent no tap"));
  }
  // A short limit for helpers that hang; for others one that a loaded machine does not reach.
  Error refusal_of(const std::string& fake, std::chrono::milliseconds limit = 20s) const {
    return refusal({.helper = directory_.fake(fake), .limit = limit});
  }
  // The arguments that the fake was run with, without its own name.
  static std::vector<std::string> arguments(const std::string& path) {
    auto words = HelperDirectory::report(path, "argument");
    EXPECT_EQ(words.at(0), path);
    words.erase(words.begin());
    return words;
  }

  HelperDirectory directory_;

 private:
  std::vector<std::string> before_;
};

struct WrongHelper {
  const char* steps;
  const char* sentence;
  bool hangs = false;

  friend std::ostream& operator<<(std::ostream& out, const WrongHelper& helper) {
    return out << helper.steps;
  }
};

// HLP-33 and FLT-15, as far as they need no tap.
class WrongHelperTest : public BridgeClientTest, public ::testing::WithParamInterface<WrongHelper> {};

TEST_P(WrongHelperTest, IsAnErrorThatSaysWhatItDid) {
  const WrongHelper& helper = GetParam();
  const auto begin = std::chrono::steady_clock::now();
  const Error error = refusal_of(helper.steps, helper.hangs ? 300ms : 20s);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  EXPECT_EQ(error.message(),
            "bridge 'br0': the helper '" + directory_.path() + "/" + helper.steps + "' " + helper.sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Hlp33, WrongHelperTest,
    ::testing::Values(
        WrongHelper{"nothing", "exited with status 0 but sent no tap"},
        WrongHelper{"close", "exited with status 0 but sent no tap"},
        WrongHelper{"close+hang", "sent no tap in 0.3 s and was stopped", true},
        WrongHelper{"hang", "sent no tap in 0.3 s and was stopped", true},
        WrongHelper{"words+hang",
                    "sent no tap in 0.3 s and was stopped and says: access to \\x1b[31mbridge\\x07denied; "
                    "ask root",
                    true},
        WrongHelper{"file", "sent a descriptor that is no tap"},
        WrongHelper{"file+file", "sent a descriptor that is no tap"},
        WrongHelper{"file+hang", "sent a descriptor that is no tap"},
        WrongHelper{"many", "sent a descriptor that is no tap"},
        WrongHelper{"byte", "sent data without a tap"}, WrongHelper{"byte+hang", "sent data without a tap"},
        WrongHelper{"data", "sent data without a tap"},
        WrongHelper{"byte+words",
                    "sent data without a tap and says: access to \\x1b[31mbridge\\x07denied; ask root"},
        WrongHelper{"child", "exited with status 0 but sent no tap"}),
    [](const auto& parameter) {
      std::string name = parameter.param.steps;
      std::replace(name.begin(), name.end(), '+', '_');
      return name;
    });

TEST_F(BridgeClientTest, AHelperThatRefusesIsQuoted) {
  EXPECT_THAT(refusal_of("words+exit1").message(),
              HasSubstr("words+exit1' exited with status 1 and says: access to \\x1b[31mbridge\\x07denied; "
                        "ask root"));
}

TEST_F(BridgeClientTest, AHelperThatFailsSilentlyIsNamed) {
  EXPECT_THAT(refusal_of("exit1").message(), HasSubstr("exit1' exited with status 1"));
}

TEST_F(BridgeClientTest, ASignalThatEndedTheHelperIsNamed) {
  EXPECT_THAT(refusal_of("words+killed").message(), HasSubstr("was killed by SIGKILL and says: access to"));
}

TEST_F(BridgeClientTest, AHelperThatWritesMuchNeitherBlocksNorFillsTheMessage) {
  const Error error = refusal_of("flood+exit1");
  EXPECT_THAT(error.message(), HasSubstr("exited with status 1 and says: xxx"));
  EXPECT_LT(error.message().size(), 1500U);
}

// HLP-33, MSG_CTRUNC: descriptors came for which there is no room here.
TEST_F(BridgeClientTest, DescriptorsThatDoNotFitAreAnErrorAndNoneStays) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const ScopeExit restore([&] { ::setrlimit(RLIMIT_NOFILE, &before); });
  const rlimit limit{.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_THAT(refusal_of("many").message(),
              AllOf(HasSubstr("sent what cannot be taken"), HasSubstr("Too many open files")));
}

TEST_F(BridgeClientTest, AMissingDefaultHelperIsNamedWithTheRemedy) {
  const Error error = refusal({.default_helper = "/no/such/tapir-bridge-helper"});
  EXPECT_EQ(error.code(), ENOENT);
  EXPECT_THAT(error.message(), StartsWith("the bridge helper '/no/such/tapir-bridge-helper' does not exist; "
                                          "install tapir's with tools/install-helper as root"));
  const char* other = "/usr/lib/qemu/qemu-bridge-helper";
  if (::access(other, X_OK) == 0) {
    EXPECT_THAT(error.message(), EndsWith(std::string(", or give helper=") + other));
  }
}

TEST_F(BridgeClientTest, TheDefaultHelperIsTheInstalledOne) {
  EXPECT_THAT(default_bridge_helper(), EndsWith("/tapir-bridge-helper"));
  EXPECT_EQ(BridgeRequest{}.default_helper, default_bridge_helper());
}

TEST_F(BridgeClientTest, AHelperThatCannotBeStartedIsNamedWithTheCause) {
  EXPECT_THAT(refusal({.helper = "/no/such/helper"}).message(),
              StartsWith("the bridge helper '/no/such/helper' does not exist"));
  EXPECT_THAT(refusal({.helper = "tapir-no-such-program -n"}).message(),
              HasSubstr("'tapir-no-such-program' is in no directory of PATH"));
  const std::string orphan = directory_.script("orphan", "#!/no/such/interpreter\n");
  EXPECT_THAT(refusal({.helper = orphan}).message(), HasSubstr("the interpreter of bridge helper"));
  const std::string closed = directory_.script("closed", "#!/bin/sh\n");
  ASSERT_EQ(::chmod(closed.c_str(), 0644), 0);
  const Error error = refusal({.helper = closed});
  EXPECT_EQ(error.code(), EACCES);
  EXPECT_THAT(error.message(),
              AllOf(HasSubstr("may not run the bridge helper '" + closed), HasSubstr("chmod")));
}

TEST_F(BridgeClientTest, AnImpossibleHelperStringIsAnError) {
  EXPECT_THAT(refusal({.helper = ""}).message(), HasSubstr("helper= is empty"));
  EXPECT_THAT(refusal({.helper = " "}).message(), HasSubstr("names no program"));
  EXPECT_THAT(refusal({.helper = "'/bin/helper --br=br0"}).message(), HasSubstr("without its other half"));
}

TEST_F(BridgeClientTest, AHelperWithoutBlanksGetsExactlyQemusArguments) {
  const std::string helper = directory_.fake("nothing");
  run_in_vain({.bridge = "br7", .helper = helper});
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=3", "--br=br7"));
  EXPECT_THAT(HelperDirectory::report(helper, "descriptor"),
              UnorderedElementsAre("0 /dev/null", "1 /dev/null", "2 pipe", "3 socket"));
}

TEST_F(BridgeClientTest, AHelperIsToldOfNoVnetHeaderByAWordLess) {
  const std::string helper = directory_.fake("nothing");
  run_in_vain({.helper = helper, .vnet_header = false});
  EXPECT_THAT(arguments(helper), ElementsAre("--fd=3", "--br=br0"));
}

TEST_F(BridgeClientTest, AHelperWithBlanksHasTheSocketAsItsInput) {
  const std::string helper = directory_.fake("nothing");
  run_in_vain({.bridge = "br7", .helper = helper + " -x"});
  EXPECT_THAT(arguments(helper), ElementsAre("-x", "--use-vnet", "--fd=0", "--br=br7"));
  EXPECT_THAT(HelperDirectory::report(helper, "descriptor"),
              UnorderedElementsAre("0 socket", "1 /dev/null", "2 pipe"));
}

TEST_F(BridgeClientTest, ABridgeInTheHelperStringIsNotGivenTwice) {
  const std::string helper = directory_.fake("nothing");
  EXPECT_THAT(refusal({.bridge = "br7", .helper = helper + "\t--br=br1"}).message(),
              StartsWith("bridge 'br1': the helper '"));
  EXPECT_THAT(arguments(helper), ElementsAre("--br=br1", "--use-vnet", "--fd=0"));
}

TEST_F(BridgeClientTest, ABridgeNameIsOneArgumentWhateverIsInIt) {
  const std::string helper = directory_.fake("nothing");
  run_in_vain({.bridge = "br0; touch x --fd=9", .helper = helper});
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=3", "--br=br0; touch x --fd=9"));
}

TEST_F(BridgeClientTest, AHelperBehindSudoFindsTheSocket) {
  const std::string helper = directory_.fake("byte");
  const std::string sudo = directory_.fake("sudo");
  EXPECT_THAT(refusal({.helper = sudo + " -n " + helper}).message(), HasSubstr("sent data without a tap"));
  EXPECT_THAT(arguments(sudo), ElementsAre("-n", helper, "--use-vnet", "--fd=0", "--br=br0"));
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=0", "--br=br0"));
}

TEST_F(BridgeClientTest, ACommandIsSearchedForInPathAndAHelperWithoutBlanksIsNot) {
  directory_.fake("sudo");
  const std::string helper = directory_.fake("byte");
  const std::string path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread
  ASSERT_EQ(::setenv("PATH", (directory_.path() + ":" + path).c_str(), 1), 0);
  const ScopeExit restore([&] { ::setenv("PATH", path.c_str(), 1); });
  EXPECT_THAT(refusal({.helper = "sudo -n " + helper}).message(), HasSubstr("sent data without a tap"));
  EXPECT_THAT(refusal({.helper = "byte"}).message(), HasSubstr("'./byte' does not exist"));
}

TEST_F(BridgeClientTest, NoShellEverSeesTheHelperString) {
  const std::string made = directory_.path() + "/made";
  const std::string helper = directory_.fake("with $(touch ${0%%/with*}made) `touch made`;touch made/byte");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory_.path());
  const ScopeExit restore([&] { std::filesystem::current_path(before); });
  EXPECT_THAT(refusal({.helper = "\"" + helper + "\""}).message(), HasSubstr("sent data without a tap"));
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=0", "--br=br0"));
  EXPECT_FALSE(std::filesystem::exists(made));
}

constexpr MacAddress kMac{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};

TEST_F(BridgeClientTest, TheDefaultHelperIsToldAddressAndQueuesUnasked) {
  const std::string helper = directory_.fake("nothing");
  run_in_vain({.queues = 2, .mac = kMac, .default_helper = helper});
  EXPECT_THAT(arguments(helper),
              ElementsAre("--use-vnet", "--fd=3", "--br=br0", "--queues=2", "--mac=52:54:00:12:34:56"));
}

TEST_F(BridgeClientTest, TheDefaultHelpersPathIsNeverSplit) {
  const std::string helper = directory_.fake("my helpers/nothing");
  run_in_vain({.mac = kMac, .default_helper = helper});
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=3", "--br=br0", "--mac=52:54:00:12:34:56"));
}

TEST_F(BridgeClientTest, AHelperThatSaysItIsTapirsIsToldAddressAndQueues) {
  const std::string helper = directory_.fake("tapir");
  const std::string sudo = directory_.fake("sudo");
  for (const std::string& text : {helper, sudo + " -n " + helper}) {
    std::filesystem::remove(helper + ".report");
    run_in_vain({.helper = text, .queues = 2, .mac = kMac});
    EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", text == helper ? "--fd=3" : "--fd=0", "--br=br0",
                                               "--queues=2", "--mac=52:54:00:12:34:56"));
  }
}

TEST_F(BridgeClientTest, AForeignHelperIsToldNeitherAddressNorQueues) {
  const std::string helper = directory_.fake("nothing");
  run_in_vain({.helper = helper, .mac = kMac});
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=3", "--br=br0"));
}

TEST_F(BridgeClientTest, AHelperThatIsSilentAboutItselfIsAForeignOne) {
  const std::string helper = directory_.fake("mute+byte");
  EXPECT_THAT(refusal({.helper = helper, .mac = kMac, .limit = 6s}).message(),
              HasSubstr("sent data without a tap"));
  EXPECT_THAT(arguments(helper), ElementsAre("--use-vnet", "--fd=3", "--br=br0"));
}

TEST_F(BridgeClientTest, AskingAHelperWhoItIsTakesNoMoreTime) {
  const std::string helper = directory_.fake("mute+hang");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(refusal({.helper = helper, .mac = kMac, .limit = 2s}).message(),
              HasSubstr("sent no tap in 2 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s);
}

TEST_F(BridgeClientTest, AForeignHelperCannotMakeSeveralQueues) {
  const std::string helper = directory_.fake("nothing");
  EXPECT_THAT(refusal({.helper = helper, .queues = 2}).message(),
              AllOf(StartsWith("queues=2: "), HasSubstr("'" + helper + "' is not tapir's")));
  EXPECT_THAT(HelperDirectory::report(helper, "argument"), IsEmpty()) << "it was run all the same";
}

TEST_F(BridgeClientTest, TheHelpersSignalsAreNotThoseOfTheVmm) {
  const std::string helper = directory_.fake("nothing");
  const auto sigpipe = ::signal(SIGPIPE, SIG_IGN);
  const ScopeExit restore([&] { ::signal(SIGPIPE, sigpipe); });
  run_in_vain({.helper = helper});
  EXPECT_THAT(HelperDirectory::report(helper, "SigIgn:"), ElementsAre("0"));
  EXPECT_THAT(HelperDirectory::report(helper, "SigBlk:"), ElementsAre("0"));
}

TEST(BridgeInHelper, IsTheLastThatACommandNames) {
  EXPECT_EQ(bridge_in_helper("/bin/helper --br=br1 '--br=br 2'").value(), "br 2");
  EXPECT_EQ(bridge_in_helper("/bin/helper -x").value(), std::nullopt);
  EXPECT_EQ(bridge_in_helper("/bin/helper--br=br1").value(), std::nullopt);  // a path
  EXPECT_THAT(bridge_in_helper("/bin/helper '--br=br1").error().message(),
              HasSubstr("without its other half"));
}

}  // namespace
}  // namespace tapir::net
