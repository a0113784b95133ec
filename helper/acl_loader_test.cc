// SPDX-License-Identifier: Apache-2.0
#include "helper/acl_loader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "helper/testing/as_stranger.h"
#include "helper/testing/config_folder.h"
#include "net/base/unique_fd.h"

namespace tapir::helper {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using testing::AsStranger;
using testing::kStranger;
using testing::kStrangersGroup;

class AclLoader : public ::testing::Test {
 protected:
  Result<Acl> load(AclView view = AclView::kCaller, const User& user = {kStranger, {kStrangersGroup}}) {
    return load_acl(main(), user, accounts_, {view, ::geteuid()});
  }
  Result<Acl> load_as_stranger() {
    const AsStranger stranger;
    return load(AclView::kCaller, stranger.user());
  }
  std::string error() {
    const auto acl = load();
    return acl ? "" : acl.error().message();
  }
  std::string main() const { return folder_.path("bridge.conf"); }
  // The main file with one line that includes NAME, and the error without its place.
  std::string error_of_include(const std::string& name) {
    folder_.write("bridge.conf", "allow all\ninclude " + folder_.path(name) + '\n');
    const std::string place = main() + ":2: the included file ";
    const std::string message = error();
    EXPECT_THAT(message, StartsWith(place));
    return message.substr(std::min(place.size(), message.size()));
  }

  testing::ConfigFolder folder_;
  UserDatabase accounts_ = UserDatabase::from_text("alice:x:1000:1000::/:\n", "");
};

TEST_F(AclLoader, ReadsTheRulesOfAllFilesWithTheirPlaces) {
  const std::string site = folder_.write("site.conf", "\nallow br1 user alice\n", 0444);
  folder_.write("bridge.conf", "include " + site + "\nallow br0\ninclude? " + folder_.path("none") + '\n',
                0640);
  const auto acl = load();
  ASSERT_TRUE(acl) << acl.error().message();
  ASSERT_EQ(acl->rules.size(), 2U);
  EXPECT_EQ(location(*acl, acl->rules[0]), main() + ":2");
  EXPECT_EQ(location(*acl, acl->rules[1]), site + ":2");
  ASSERT_EQ(acl->files.size(), 2U);
  EXPECT_EQ(acl->files[0].permissions.mode & 07777U, 0640U);
  EXPECT_EQ(acl->files[0].permissions.owner, ::geteuid());
  EXPECT_EQ(acl->files[0].includer, std::nullopt);
  EXPECT_EQ(acl->files[1].permissions.mode & 07777U, 0444U);
  EXPECT_EQ(acl->files[1].includer, 0U);
  EXPECT_TRUE(acl->skipped.empty());
}

TEST_F(AclLoader, Hlp15WithoutAConfigurationNobodyMayHaveAnything) {
  EXPECT_EQ(error(),
            main() +
                ": it is missing, so that nobody may use a bridge; tapir-bridge.conf(5) tells what to "
                "write");
}

TEST_F(AclLoader, Hlp02AnIncludedFileThatCannotBeReadDeniesEverything) {
  EXPECT_EQ(error_of_include("none"), "is missing (write include? if it may be)");
  EXPECT_EQ(error_of_include("no-folder/none"), "is missing (write include? if it may be)");
  EXPECT_EQ(error_of_include(""), "is not a regular file");
  ASSERT_EQ(::mkfifo(folder_.path("fifo").c_str(), 0644), 0);
  EXPECT_EQ(error_of_include("fifo"), "is not a regular file");
  std::filesystem::create_symlink(folder_.write("good.conf", ""), folder_.path("link"));
  EXPECT_EQ(error_of_include("link"), "is a symbolic link");
  EXPECT_EQ(error_of_include("good.conf/x"), "cannot be read: Not a directory");
  folder_.write("long.conf", std::string(kMaxAclBytes + 1, '\n'));
  folder_.write("bridge.conf", "include " + folder_.path("long.conf") + '\n');
  EXPECT_EQ(error(), folder_.path("long.conf") + ": it is longer than 1048576 bytes");
}

TEST_F(AclLoader, Hlp02AnErrorInAnIncludedFileDeniesEverythingAndNamesItsLine) {
  const std::string site = folder_.write("site.conf", "allow br1\ndeni br0\n");
  folder_.write("bridge.conf", "allow all\ninclude " + site + "\n");
  EXPECT_THAT(error(), StartsWith(site + ":2: the first word is not"));
}

TEST_F(AclLoader, Hlp02OnlyAFileThatIsMissingIsOptional) {
  folder_.write("bad.conf", "deni br0\n");
  folder_.write("open.conf", "", 0666);
  std::filesystem::create_symlink("/nonexistent", folder_.path("dangling"));
  for (const std::string name : {"bad.conf", "open.conf", "dangling", "bad.conf/x", ""}) {
    folder_.write("bridge.conf", "allow all\ninclude? " + folder_.path(name) + '\n');
    EXPECT_NE(error(), "") << name;
  }
}

TEST_F(AclLoader, AnIncludedFileWhoseModeDeniesTheCallerIsSkipped) {
  const std::string other = folder_.write("other.conf", "deny all\n", 0000);
  const std::string own = folder_.write("own.conf", "allow br1\n");
  folder_.write("bridge.conf", "include " + other + "\ninclude " + own + "\ninclude? " + other + "\n");
  const auto acl = load_as_stranger();
  ASSERT_TRUE(acl) << acl.error().message();
  EXPECT_EQ(acl->rules.size(), 1U);
  EXPECT_THAT(acl->skipped, ElementsAre(other, other));
}

TEST_F(AclLoader, ASupplementaryGroupOpensAFile) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can be another user";
  }
  const std::string group = folder_.write("group.conf", "allow br1\n", 0640);
  ASSERT_EQ(::chown(group.c_str(), 0, kStrangersGroup), 0);
  const std::string other = folder_.write("other.conf", "allow br2\n", 0640);
  ASSERT_EQ(::chown(other.c_str(), 0, kStrangersGroup + 1), 0);
  folder_.write("bridge.conf", "include " + group + "\ninclude " + other + "\n");
  const auto acl = load_as_stranger();
  ASSERT_TRUE(acl) << acl.error().message();
  ASSERT_EQ(acl->rules.size(), 1U);
  EXPECT_EQ(acl->rules[0].bridge, "br1");
  EXPECT_THAT(acl->skipped, ElementsAre(other));
}

TEST_F(AclLoader, Hlp02ARefusalThatTheModeDoesNotExplainDeniesEverything) {
  // The folder denies, not the file.
  std::filesystem::create_directory(folder_.path("closed"));
  folder_.write("closed/site.conf", "deny all\n");
  folder_.write("bridge.conf", "allow all\ninclude " + folder_.path("closed/site.conf") + "\n");
  ASSERT_EQ(::chmod(folder_.path("closed").c_str(), 0000), 0);
  const auto behind_folder = load_as_stranger();
  EXPECT_EQ(::chmod(folder_.path("closed").c_str(), 0755), 0);
  ASSERT_FALSE(behind_folder);
  EXPECT_EQ(behind_folder.error().message(),
            main() + ":2: the included file cannot be read: Permission denied");

  // The kernel refuses somebody whom the mode would let read.
  ASSERT_EQ(::chmod(folder_.path("closed/site.conf").c_str(), 0040), 0);
  const AsStranger stranger;
  const auto refused = load(AclView::kCaller, {kStranger, {::getegid()}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), main() + ":2: the included file cannot be read: Permission denied");
}

TEST_F(AclLoader, Hlp02AnUnreadableFileThatIsNotARegularOneOfRootsIsNotSkipped) {
  ASSERT_EQ(::mkfifo(folder_.path("fifo").c_str(), 0000), 0);
  folder_.write("bridge.conf", "allow all\ninclude " + folder_.path("fifo") + "\n");
  const auto fifo = load_as_stranger();
  ASSERT_FALSE(fifo);
  EXPECT_THAT(fifo.error().message(), EndsWith("is not a regular file"));

  folder_.write("loose.conf", "", 0020);
  folder_.write("bridge.conf", "allow all\ninclude " + folder_.path("loose.conf") + "\n");
  const auto loose = load_as_stranger();
  ASSERT_FALSE(loose);
  EXPECT_THAT(loose.error().message(), EndsWith("is writable by its group or by others (chmod go-w)"));
}

TEST_F(AclLoader, AConfigurationThatTheCallerMayNotReadAllowsNothing) {
  folder_.write("bridge.conf", "allow all\n", 0000);
  const auto acl = load_as_stranger();
  ASSERT_FALSE(acl);
  EXPECT_THAT(acl.error().message(), StartsWith(main() + ": its mode does not let uid "));
}

TEST_F(AclLoader, Hlp03CyclesAreRefused) {
  folder_.write("bridge.conf", "include " + main() + "\n");
  EXPECT_EQ(error(), main() + ":1: the included file includes itself, directly or through others");

  const std::string other = folder_.write("other.conf", "\ninclude " + main() + "\n");
  folder_.write("bridge.conf", "allow br0\ninclude " + other + "\n");
  EXPECT_EQ(error(), other + ":2: the included file includes itself, directly or through others");

  // By another name of the same file.
  std::filesystem::create_hard_link(main(), folder_.path("alias.conf"));
  folder_.write("other.conf", "include " + folder_.path("alias.conf") + "\n");
  EXPECT_EQ(error(), other + ":1: the included file includes itself, directly or through others");
}

TEST_F(AclLoader, Hlp03IncludesNestEightDeepAndNoDeeper) {
  const auto write_chain = [this](int depth) {
    for (int i = 0; i <= depth; ++i) {
      const std::string next = "include " + folder_.path(std::to_string(i + 1)) + '\n';
      folder_.write(i == 0 ? "bridge.conf" : std::to_string(i), i < depth ? next : "allow br0\n");
    }
  };
  write_chain(8);
  ASSERT_TRUE(load());
  EXPECT_EQ(load()->files.size(), 9U);
  for (const int depth : {9, 17}) {
    write_chain(depth);
    EXPECT_EQ(error(), folder_.path("8") + ":1: the included file is more than 8 includes deep");
  }
}

TEST_F(AclLoader, Hlp03SixtyFourFilesAreReadAndNotOneMore) {
  const std::string site = folder_.write("site.conf", "allow br0\n");
  const auto write_main = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      text += "include " + site + '\n';
    }
    folder_.write("bridge.conf", text);
  };
  write_main(63);
  ASSERT_TRUE(load()) << error();
  EXPECT_EQ(load()->rules.size(), 63U);
  for (const int count : {64, 10'000}) {
    write_main(count);
    EXPECT_EQ(error(), main() + ":64: the included file is one more than the 64 files that are read");
  }
}

TEST_F(AclLoader, FilesOfOtherUsersDoNotCountAgainstTheLimit) {
  folder_.write("other.conf", "allow br0\n", 0000);
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text += "include " + folder_.path("other.conf") + '\n';
  }
  folder_.write("bridge.conf", text);
  const auto acl = load_as_stranger();
  ASSERT_TRUE(acl) << acl.error().message();
  EXPECT_EQ(acl->skipped.size(), 200U);
  ASSERT_EQ(::chmod(folder_.path("other.conf").c_str(), 0600), 0);
  EXPECT_TRUE(load(AclView::kEverything)) << "root checks them all";
}

TEST_F(AclLoader, Hlp04AHostileFileInTheWorkingFolderIsNotIncluded) {
  folder_.write("x.conf", "allow all\n");
  folder_.write("bridge.conf", "allow br0\ninclude x.conf\n");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  EXPECT_EQ(error(), main() + ":2: the path of the file to include must be absolute");
  std::filesystem::current_path(before);
}

TEST_F(AclLoader, Hlp05ATailOfALongCommentIsNotARule) {
  folder_.write("bridge.conf", "#" + std::string(4094, 'a') + "allow all\n");
  EXPECT_EQ(error(), main() + ":1: the line is longer than 4095 bytes");
}

TEST_F(AclLoader, Hlp06NothingOfASecretFileIsTold) {
  const std::string secret = folder_.write("secret.conf", "hunter2\nallow hunter2 hunter2\n", 0000);
  folder_.write("bridge.conf", "include " + secret + "\nallow br0\n");
  const auto acl = load_as_stranger();
  ASSERT_TRUE(acl) << "its mistakes are no matter of those who may not read it";
  EXPECT_EQ(acl->rules.size(), 1U);
  ASSERT_EQ(::chmod(secret.c_str(), 0600), 0);
  EXPECT_THAT(error(), StartsWith(secret + ":1: "));
  EXPECT_THAT(error(), Not(HasSubstr("hunter2")));
}

// Each of the bad files, as the configuration itself and included.
TEST_F(AclLoader, Hlp07OnlyARegularFileOfTheOwnersThatNobodyElseMayWriteIsRead) {
  const auto check = [this](const std::string& path, const std::string& reason, uid_t owner) {
    const auto as_main = load_acl(path, {kStranger, {}}, accounts_, {AclView::kCaller, owner});
    ASSERT_FALSE(as_main) << path;
    EXPECT_EQ(as_main.error().message(), path + ": it " + reason);
    const std::string outer = folder_.write("bridge.conf", "include " + path + '\n');
    const auto included = load_acl(outer, {kStranger, {}}, accounts_, {AclView::kCaller, ::geteuid()});
    if (owner == ::geteuid()) {
      ASSERT_FALSE(included) << path;
      EXPECT_EQ(included.error().message(), outer + ":1: the included file " + reason);
    }
  };
  const uid_t me = ::geteuid();
  check(folder_.write("group", "allow all\n", 0664), "is writable by its group or by others (chmod go-w)",
        me);
  check(folder_.write("others", "allow all\n", 0646), "is writable by its group or by others (chmod go-w)",
        me);
  check(folder_.write("not-ours", "allow all\n"), "is not owned by uid 12345", 12345);
  std::filesystem::create_directory(folder_.path("folder"));
  check(folder_.path("folder"), "is not a regular file", me);
  ASSERT_EQ(::mkfifo(folder_.path("fifo").c_str(), 0644), 0);
  check(folder_.path("fifo"), "is not a regular file", me);
  check("/dev/null", "is not a regular file", me);
  std::filesystem::create_symlink(folder_.write("good", "allow all\n"), folder_.path("link"));
  check(folder_.path("link"), "is a symbolic link", me);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  folder_.path("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  check(folder_.path("socket"), "cannot be read: No such device or address", me);
}

TEST_F(AclLoader, Hlp07ByDefaultTheOwnerIsRoot) {
  folder_.write("bridge.conf", "allow br0\n");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(main().c_str(), kStranger, 0), 0);
  }
  const auto acl = load_acl(main(), {kStranger, {}}, accounts_);
  ASSERT_FALSE(acl);
  EXPECT_EQ(acl.error().message(), main() + ": it is not owned by root");
}

// Loads while another thread exchanges the configuration with `evil`, which allows br9. Whatever is read must
// be the good file.
void load_while_swapping(const std::string& good, const std::string& evil, AccountNames& accounts) {
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      ::renameat2(AT_FDCWD, good.c_str(), AT_FDCWD, evil.c_str(), RENAME_EXCHANGE);
    }
  });
  constexpr int kLoads = 100'000;
  int refused = 0;
  int evil_read = 0;
  for (int i = 0; i < kLoads; ++i) {
    const auto acl = load_acl(good, {kStranger, {}}, accounts, {AclView::kCaller, ::geteuid()});
    refused += acl ? 0 : 1;
    evil_read += acl && (acl->rules.size() != 1 || acl->rules[0].bridge != "br0") ? 1 : 0;
  }
  stop = true;
  swapper.join();
  EXPECT_EQ(evil_read, 0);
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, kLoads);
}

TEST_F(AclLoader, Hlp07AFileThatIsSwappedForOneThatOthersMayWriteIsNeverRead) {
  folder_.write("bridge.conf", "allow br0\n");
  load_while_swapping(main(), folder_.write("evil.conf", "allow br9\n", 0666), accounts_);
}

TEST_F(AclLoader, Hlp07AFileThatIsSwappedForASymbolicLinkIsNeverFollowed) {
  folder_.write("bridge.conf", "allow br0\n");
  std::filesystem::create_symlink(folder_.write("evil.conf", "allow br9\n"), folder_.path("link"));
  load_while_swapping(main(), folder_.path("link"), accounts_);
}

TEST_F(AclLoader, ABridgeHasOneVlan) {
  const std::string site = folder_.write("site.conf", "\nvlan br0 20\n");
  folder_.write("bridge.conf", "vlan br0 10\nvlan br1 20\nvlan br0 10\n");
  EXPECT_TRUE(load()) << "the same again, and another bridge";
  folder_.write("bridge.conf", "vlan br0 10\ninclude " + site + "\n");
  EXPECT_EQ(error(), site + ":2: the bridge has another VLAN at " + main() + ":1");
}

TEST_F(AclLoader, FilesThatNobodyReadsTogetherMayGiveOneBridgeTwoVlans) {
  const std::string alice = folder_.write("alice.conf", "vlan br0 10\n", 0640);
  const std::string bob = folder_.write("bob.conf", "vlan br0 20\n", 0640);
  folder_.write("bridge.conf", "include " + alice + "\ninclude " + bob + "\n");
  EXPECT_TRUE(load(AclView::kEverything));
  EXPECT_FALSE(load()) << "a caller who may read both";
  ASSERT_EQ(::chmod(bob.c_str(), 0644), 0);
  EXPECT_FALSE(load(AclView::kEverything)) << "alice reads both";
}

TEST_F(AclLoader, ASimulatedCallerSeesWhatTheModesLetThatCallerSee) {
  const std::string other = folder_.write("other.conf", "deny all\n", 0600);
  std::filesystem::create_directory(folder_.path("folder"));
  const std::string inner = folder_.write("folder/inner.conf", "allow br1\n");
  folder_.write("bridge.conf", "include " + other + "\ninclude " + inner + "\n");
  const auto acl = load(AclView::kSimulated);
  ASSERT_TRUE(acl) << acl.error().message();
  EXPECT_EQ(acl->rules.size(), 1U);
  EXPECT_THAT(acl->skipped, ElementsAre(other));

  ASSERT_EQ(::chmod(folder_.path("folder").c_str(), 0700), 0);
  const auto behind_folder = load(AclView::kSimulated);
  ASSERT_FALSE(behind_folder);
  EXPECT_EQ(behind_folder.error().message(),
            main() + ":2: the included file cannot be read: a folder on its path denies uid 54321");
  EXPECT_EQ(load(AclView::kEverything)->rules.size(), 2U);

  ASSERT_EQ(::chmod(main().c_str(), 0600), 0);
  EXPECT_EQ(load(AclView::kSimulated).error().message(),
            main() + ": its mode does not let uid 54321 read it");
}

}  // namespace
}  // namespace tapir::helper
