//! The lake and the archive, with the same tests on a local folder and on an S3 server; and the
//! lake against a faulty server.

mod archive;
mod faults;

use reqwest::Method;
use sodalake::bucket::Environment;
use sodalake::lake::{Lake, LakeError};
use sodalake::model::{Day, FileStamp, LakePath};
use sodalake::settings::LakeSettings;
use tempfile::TempDir;
use url::Url;

use crate::support::s3::S3Bucket;

/// Runs each test in both places.
macro_rules! in_both_places {
    ($($test:ident),+ $(,)?) => {
        mod folder {
            $(#[tokio::test] async fn $test() { super::$test(crate::sources::lake::Place::folder()).await; })+
        }
        mod s3 {
            $(#[tokio::test] async fn $test() { super::$test(crate::sources::lake::Place::s3().await).await; })+
        }
    };
}
pub(crate) use in_both_places;

/// Where objects are kept.
pub enum Place {
    Folder(TempDir),
    S3(S3Bucket),
}

impl Place {
    pub fn folder() -> Self {
        Self::Folder(tempfile::tempdir().unwrap())
    }

    pub async fn s3() -> Self {
        Self::S3(S3Bucket::create().await)
    }

    pub fn url(&self) -> Url {
        match self {
            Self::Folder(folder) => Url::from_directory_path(folder.path()).unwrap(),
            Self::S3(bucket) => bucket.url.clone(),
        }
    }

    /// The environment with the server's address, for users without another setting for it.
    pub fn environment(&self) -> Environment {
        match self {
            Self::Folder(_) => Environment::new(),
            Self::S3(bucket) => {
                let mut environment = bucket.environment.clone();
                environment.insert("AWS_ENDPOINT_URL".into(), bucket.endpoint.to_string());
                environment
            }
        }
    }

    pub async fn put(&self, key: &str, bytes: &[u8]) {
        match self {
            Self::Folder(folder) => {
                let path = folder.path().join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            Self::S3(bucket) => {
                let request = bucket.request(Method::PUT, key);
                let answer = request.body(bytes.to_vec()).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.status());
            }
        }
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Folder(folder) => std::fs::read(folder.path().join(key)).unwrap(),
            Self::S3(bucket) => {
                let answer = bucket.request(Method::GET, key).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.status());
                answer.bytes().await.unwrap().to_vec()
            }
        }
    }

    pub async fn remove(&self, key: &str) {
        match self {
            Self::Folder(folder) => std::fs::remove_file(folder.path().join(key)).unwrap(),
            Self::S3(bucket) => {
                let request = bucket.request(Method::DELETE, key);
                assert!(request.send().await.unwrap().status().is_success());
            }
        }
    }

    fn settings(&self) -> LakeSettings {
        LakeSettings {
            url: self.url(),
            endpoint: None,
            region: None,
            repository: "atd-datalake-ready".into(),
            max_file_bytes: 1 << 20,
        }
    }

    fn lake(&self) -> Lake {
        Lake::open_with(&self.settings(), &self.environment()).unwrap()
    }

    /// The lake in a folder of the same place.
    fn lake_below(&self, folder: &str) -> Lake {
        let mut settings = self.settings();
        let text = settings.url.as_str().trim_end_matches('/').to_string();
        settings.url = format!("{text}/{folder}").parse().unwrap();
        Lake::open_with(&settings, &self.environment()).unwrap()
    }
}

fn day() -> Day {
    "2020-05-13".parse().unwrap()
}

fn path(text: &str) -> LakePath {
    LakePath(text.into())
}

const CHAVEZ: &str = "2020/05/13/gs/Cesar Ch\u{e1}vez_Comal_gs_2020-05-13_agg15.json";

/// Names that occur in practice, and difficult ones.
const NAMES: [&str; 10] = [
    CHAVEZ,
    "2020/05/13/gs/Cesar Cha\u{301}vez_Comal_gs_2020-05-13_agg15.json",
    "2020/05/13/gs/Parmer&FM 734_McNeil_gs_2020-05-13_agg15.json",
    "2020/05/13/gs/100%_gs_2020-05-13_agg15.json",
    "2020/05/13/gs/A%2FB_gs_2020-05-13_agg15.json",
    "2020/05/13/gs/A+B=C_gs_2020-05-13_agg15.json",
    "2020/05/13/gs/ leading and trailing ",
    "2020/05/13/gs/what?#[really]~^`{}|<>*'\"",
    "2020/05/13/gs/back\\slash",
    "2020/05/13/gs/..dots..",
];

in_both_places!(
    every_file_name_is_listed_found_and_read_unchanged,
    a_listing_contains_only_the_folders_own_files,
    a_lake_may_be_a_folder_of_its_bucket,
    absence_is_proven_or_an_error,
    another_version_is_never_read,
    a_file_over_the_limit_is_not_read,
    a_path_outside_the_lake_is_refused,
);

async fn every_file_name_is_listed_found_and_read_unchanged(place: Place) {
    for name in NAMES {
        place.put(name, name.as_bytes()).await;
    }
    let lake = place.lake();
    let listed = lake.list("gs", day()).await.unwrap().files;
    let mut names = NAMES.map(path);
    names.sort();
    assert_eq!(listed.keys().cloned().collect::<Vec<_>>(), names);
    for (path, stamp) in &listed {
        assert_eq!(
            lake.stat(path).await.unwrap().as_ref(),
            Some(stamp),
            "{path}"
        );
        assert_eq!(
            lake.read(path, stamp).await.unwrap(),
            path.0.as_bytes(),
            "{path}"
        );
    }
}

async fn a_listing_contains_only_the_folders_own_files(place: Place) {
    for name in [
        "2020/05/13/gs/a.json",
        "2020/05/13/gs/below/b.json",
        "2020/05/13/gsx/c.json",
        "2020/05/13/gs.json",
        "2020/05/14/gs/d.json",
    ] {
        place.put(name, b"x").await;
    }
    if let Place::S3(_) = &place {
        place.put("2020/05/13/gs/", b"").await;
        place.put("2020/05/13/gs/marker/", b"").await;
    }
    let listed = place.lake().list("gs", day()).await.unwrap().files;
    assert_eq!(
        listed.keys().collect::<Vec<_>>(),
        [&path("2020/05/13/gs/a.json")]
    );
    assert!(
        place
            .lake()
            .list("bt", day())
            .await
            .unwrap()
            .files
            .is_empty()
    );
}

async fn a_lake_may_be_a_folder_of_its_bucket(place: Place) {
    let key = "2020/05/13/gs/A%2FB & \u{e9}.json";
    place.put(&format!("the lake/{key}"), b"inner").await;
    place.put("2020/05/13/gs/outer.json", b"outer").await;
    let lake = place.lake_below("the%20lake");
    let listed = lake.list("gs", day()).await.unwrap().files;
    assert_eq!(listed.keys().collect::<Vec<_>>(), [&path(key)]);
    let bytes = lake.read(&path(key), &listed[&path(key)]).await.unwrap();
    assert_eq!(&bytes[..], b"inner");
}

async fn absence_is_proven_or_an_error(place: Place) {
    place.put(CHAVEZ, b"x").await;
    let lake = place.lake();
    assert_eq!(
        lake.stat(&path("2020/05/13/gs/other.json")).await.unwrap(),
        None
    );
    assert_eq!(
        lake.stat(&path("1999/01/01/gs/none.json")).await.unwrap(),
        None
    );
    let stamp = lake.stat(&path(CHAVEZ)).await.unwrap().unwrap();
    place.remove(CHAVEZ).await;
    let gone = lake.read(&path(CHAVEZ), &stamp).await.unwrap_err();
    assert!(matches!(gone, LakeError::Absent { path } if path.0 == CHAVEZ));

    let lake = match place {
        Place::Folder(folder) => {
            folder.close().unwrap();
            lake
        }
        Place::S3(mut bucket) => {
            bucket.url = "s3://no-such-bucket".parse().unwrap();
            Place::S3(bucket).lake()
        }
    };
    let error = lake.stat(&path(CHAVEZ)).await.unwrap_err();
    assert!(matches!(error, LakeError::Unreachable { .. }), "{error:?}");
    let error = lake.list("gs", day()).await.unwrap_err();
    assert!(matches!(error, LakeError::Unreachable { .. }), "{error:?}");
}

async fn another_version_is_never_read(place: Place) {
    let file = path(CHAVEZ);
    place.put(CHAVEZ, b"first").await;
    let lake = place.lake();
    let first = lake.stat(&file).await.unwrap().unwrap();
    place.put(CHAVEZ, b"other").await;
    let second = lake.stat(&file).await.unwrap().unwrap();
    assert_ne!(first.etag, second.etag);
    let error = lake.read(&file, &first).await.unwrap_err();
    assert!(matches!(error, LakeError::Changed { .. }), "{error:?}");
    assert_eq!(&lake.read(&file, &second).await.unwrap()[..], b"other");

    let untagged = FileStamp {
        etag: None,
        ..second
    };
    let older = FileStamp {
        modified: untagged.modified - chrono::TimeDelta::seconds(2),
        ..untagged.clone()
    };
    let long = FileStamp {
        size: 6,
        ..untagged
    };
    for stamp in [older, long] {
        let error = lake.read(&file, &stamp).await.unwrap_err();
        assert!(matches!(error, LakeError::Changed { .. }), "{error:?}");
    }
}

async fn a_file_over_the_limit_is_not_read(place: Place) {
    place.put(CHAVEZ, &vec![b'x'; (1 << 20) + 1]).await;
    let lake = place.lake();
    let stamp = lake.stat(&path(CHAVEZ)).await.unwrap().unwrap();
    let error = lake.read(&path(CHAVEZ), &stamp).await.unwrap_err();
    assert!(
        matches!(error, LakeError::TooLarge { size, limit, .. } if size == limit + 1),
        "{error:?}"
    );
}

async fn a_path_outside_the_lake_is_refused(place: Place) {
    place.put("secret.json", b"secret").await;
    place.put("lake/a.json", b"x").await;
    if let Place::Folder(folder) = &place {
        let link = folder.path().join("lake/link.json");
        std::os::unix::fs::symlink(folder.path().join("secret.json"), link).unwrap();
        let within = folder.path().join("lake/within.json");
        std::os::unix::fs::symlink("a.json", within).unwrap();
    }
    let lake = place.lake_below("lake");
    let stamp = lake.stat(&path("a.json")).await.unwrap().unwrap();
    let mut hostile = vec!["../secret.json", "/secret.json", "x/../../secret.json", ""];
    if let Place::Folder(_) = place {
        hostile.extend(["link.json", "a.json#1"]);
        assert!(lake.stat(&path("within.json")).await.unwrap().is_some());
    }
    for text in hostile {
        for error in [
            lake.stat(&path(text)).await.unwrap_err(),
            lake.read(&path(text), &stamp).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, LakeError::Unusable { .. }),
                "{text}: {error:?}"
            );
        }
    }
}

#[test]
fn a_missing_folder_is_named() {
    let place = Place::folder();
    let mut settings = place.settings();
    settings.url = settings.url.join("none").unwrap();
    let error = anyhow::Error::from(Lake::open(&settings).unwrap_err());
    let text = format!("{error:#}");
    assert!(
        text.starts_with("cannot open the lake: cannot open folder /"),
        "{text}"
    );
    assert!(text.contains("/none: No such file or directory"), "{text}");
}
