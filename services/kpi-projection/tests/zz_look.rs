include!("http.rs");
#[tokio::test]
async fn look() {
    let served = served().await;
    std::fs::write("/tmp/kpi_look.txt", format!("{}/#token={}", served.address, served.token(Role::Analyst))).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}
